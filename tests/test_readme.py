"""What the README says to type works: set-up lines, commands, Python, links."""

import re
import shlex
from pathlib import Path

import pytest

from audio_agent_zoo.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FIRST_SOUND = (
    "pip install -e . && audio-agent generate "
    '"A clap of thunder while rain pours, followed by a dog barking" --duration 10 --out storm.wav'
)
TESTS = 'pip install -e ".[test]" && pytest'
PAGES = [README, ROOT / "recipes" / "README.md"]
CARDS = sorted((ROOT / "model_cards").glob("*.md"))


def _blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _commands() -> list[str]:
    """Every `audio-agent ...` of the pages' bash blocks, without what stands before it on the line."""
    lines = [line for page in PAGES for block in _blocks(page, "bash") for line in block.splitlines()]
    return [line[line.index("audio-agent ") :].split(" && ")[0] for line in lines if "audio-agent " in line]


def test_the_two_set_up_lines_stand_alone_in_their_blocks() -> None:
    blocks = [block.strip() for block in _blocks(README, "bash")]
    assert blocks[0] == FIRST_SOUND, "nothing stands before the line that makes the first sound"
    assert blocks.count(TESTS) == 1
    installs = [block for block in blocks if "pip install" in block]
    assert installs == [FIRST_SOUND, TESTS]


@pytest.mark.parametrize("command", _commands())
def test_a_command_is_one_that_the_program_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every word up to the values is checked by the real parser, which `--help` ends before the work."""
    words = shlex.split(command, comments=True)[1:]
    recipes = [word for word in words if word.endswith(".yaml")]
    for recipe in recipes:
        assert list(ROOT.glob(recipe)), f"there is no {recipe}"
    if words[0] == "fit":
        assert words[1] == "--config"
        assert recipes
        return
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    usage = capsys.readouterr().out
    for option in (word.split("=")[0] for word in words if word.startswith("--")):
        assert option in usage, f"`{command}`: {option} is no option"


@pytest.mark.parametrize("number", range(len(_blocks(README, "python"))))
def test_python_blocks_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = _blocks(README, "python")[number]
    exec(compile(code, f"README.md, python block {number}", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
