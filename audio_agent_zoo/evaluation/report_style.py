"""How a report looks and moves: one style sheet and one small script, both part of the page."""

STYLE = """
:root { color-scheme: light dark; --paper: #faf8f5; --card: #ffffff; --ink: #221d2b; --soft: #6f6879; --line: #e6e0da;
  --accent: #a3264f; --amber: #b96a05; --fill: #f3ece6; --shadow: 0 1px 2px #0000000d, 0 8px 24px #00000009; }
@media (prefers-color-scheme: dark) { :root { --paper: #131019; --card: #1c1824; --ink: #ece7f1; --soft: #a097ad;
  --line: #322b3d; --accent: #ff7d9d; --amber: #ffb454; --fill: #272131; --shadow: none; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; overflow-wrap: anywhere; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3.5rem) clamp(1rem, 4vw, 2.5rem) 4rem; }
h1 { font-size: clamp(1.6rem, 1.1rem + 2.4vw, 2.6rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .4rem;
  text-wrap: balance; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; letter-spacing: -.01em; margin: 3rem 0 1rem; }
h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .3rem 0; max-width: 68ch; }
.lead, .soft { color: var(--soft); }
.soft { font-size: .875rem; }
.tags { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.tags li { background: var(--fill); border-radius: 1rem; padding: .15rem .7rem; font-size: .8125rem;
  color: var(--soft); }
.tags b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; box-shadow: var(--shadow); }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .6rem 1rem; border-top: 1px solid var(--line); vertical-align: middle; }
thead th { border-top: 0; font-size: .75rem; font-weight: 600; color: var(--soft); }
tbody th { font-weight: 500; }
tr.group th { background: var(--fill); font-size: .75rem; font-weight: 600; color: var(--soft); padding-block: .35rem; }
tr.reference th, tr.reference td { color: var(--soft); }
tbody th { overflow-wrap: anywhere; min-width: 7rem; } td { overflow-wrap: normal; }
td.value { font-weight: 650; font-size: 1.05rem; white-space: nowrap; }
tr.reference td.value { font-weight: 500; }
td.value small { font-weight: 400; color: var(--soft); }
td.n { color: var(--soft); text-align: right; }
thead th:last-child { text-align: right; }
.way { color: var(--amber); font-size: .8em; margin-left: .35em; }
td.bars > div { display: flex; align-items: center; gap: 1rem; }
.bar { display: block; flex: 1 1 8rem; min-width: 6rem; max-width: 14rem; height: 12px; overflow: visible; }
.bar .rail { stroke: var(--line); stroke-width: 2; }
.bar .span { stroke: var(--accent); stroke-width: 4; stroke-linecap: round; opacity: .42; }
.bar .at { stroke: var(--accent); stroke-width: 3; }
tr.reference .bar .span { stroke: var(--soft); } tr.reference .bar .at { stroke: var(--soft); }
table.systems td .range { display: block; font-weight: 400; } table.systems thead th:last-child { text-align: left; }
.range { font-size: .8125rem; color: var(--soft); white-space: nowrap; }
.clip { padding: 1rem; margin: 0 0 1rem; }
.clip header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .3rem 1rem; margin-bottom: .75rem; }
.clip header p { margin: 0; font-style: italic; color: var(--soft); font-size: .9rem; }
.chips { display: flex; flex-wrap: wrap; gap: .2rem .9rem; margin: .7rem 0 0; font-size: .8125rem; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.chips b { color: var(--ink); font-weight: 600; }
.sounds { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption b { min-width: 0; }
figcaption { display: flex; justify-content: space-between; gap: 1rem; font-size: .8125rem; margin-bottom: .3rem; }
figcaption b { font-weight: 600; } figcaption span { color: var(--soft); font-variant-numeric: tabular-nums; }
.stage { position: relative; height: 9.5rem; background: #080816; border-radius: 8px; overflow: hidden;
  cursor: pointer; }
.stage img { display: block; height: 100%; image-rendering: auto; }
.stage i { position: absolute; top: 0; bottom: 0; width: 0; border-left: 1.5px solid #7df3ff; opacity: .9; }
.stage i::before { content: ""; position: absolute; top: 0; left: -5.25px; border: 4.5px solid transparent;
  border-top: 7px solid #7df3ff; }
.stage i.far { border-left: 1.5px dashed #ffffffb0; }
.stage i.far::before { top: 3px; left: -4.75px; width: 6px; height: 6px; border: 1.5px solid #fff; border-radius: 50%;
  background: #080816; }
.stage i.truth { top: auto; height: 12px; border-left: 3px solid #ffd257; opacity: 1; }
.stage i.truth::before { display: none; }
.stage u { position: absolute; left: 5px; transform: translateY(50%); font-size: .625rem; line-height: 1; color: #fff;
  opacity: .62; text-decoration: none; text-shadow: 0 0 3px #000, 0 0 2px #000; pointer-events: none; }
.stage s { position: absolute; top: 0; bottom: 0; left: var(--at, -1%); width: 2px; background: #fff; opacity: 0; }
.playing .stage s { opacity: 1; }
audio { display: block; width: 100%; height: 34px; margin-top: .45rem; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0 0 1rem; font-size: .8125rem; color: var(--soft); }
.key svg { vertical-align: -5px; margin-right: .5em; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.pictures figure { max-width: 44rem; }
.pictures img { width: 100%; height: auto; display: block; border-radius: 10px; background: #fff; }
details { border-top: 1px solid var(--line); padding: .7rem 0; }
details:last-child { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; font-weight: 550; } summary::marker { color: var(--soft); }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1.2rem; font-size: .875rem;
  margin: .7rem 0 .3rem; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ul.plain { margin: .5rem 0; padding-left: 1.1rem; font-size: .875rem; } ul.plain li { overflow-wrap: anywhere; }
footer { margin-top: 3rem; font-size: .8125rem; color: var(--soft); }
@media (max-width: 40rem) { thead { display: none; } tbody tr { display: grid; grid-template-columns: 1fr auto;
  border-top: 1px solid var(--line); padding: .55rem 1rem; gap: .1rem .8rem; } tbody th, td { border: 0; padding: 0; }
  tr.group { background: var(--fill); padding-block: .3rem; } tr.group th { padding: 0; background: none; }
  td.bars { grid-column: 1 / -1; } td.n { display: none; } tbody tr:first-child { border-top: 0; }
  .clip { padding: .8rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .45rem; } }
@media print { audio, .stage s { display: none; } .card { break-inside: avoid; box-shadow: none; } }
"""

SCRIPT = """
const sounds = [...document.querySelectorAll("figure.sound")].filter(one => one.querySelector("audio"));
for (const figure of sounds) {
  const audio = figure.querySelector("audio"), stage = figure.querySelector(".stage");
  const share = Number(stage.dataset.share), length = Number(stage.dataset.seconds);
  const follow = () => {
    stage.style.setProperty("--at", 100 * share * audio.currentTime / length + "%");
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => {
    for (const other of sounds) if (other !== figure) other.querySelector("audio").pause();
    figure.classList.add("playing");
    follow();
  });
  audio.addEventListener("seeking", follow);
  audio.addEventListener("ended", () => figure.classList.remove("playing"));
  stage.addEventListener("click", event => {
    const box = stage.getBoundingClientRect();
    audio.currentTime = Math.min(length, (event.clientX - box.left) / box.width / share * length);
    audio.play();
  });
}
"""
