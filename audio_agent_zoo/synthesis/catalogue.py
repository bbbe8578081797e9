"""The classes of the procedural Foley world: how each sounds, repeats and is spoken of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from audio_agent_zoo.synthesis import impacts, instruments, textures, voices
from audio_agent_zoo.synthesis.style import StrikeMaker, TextureMaker


@dataclass(frozen=True)
class SoundClass:
    """One kind of sound.

    Attributes:
        phrases: Ways to say it; `{a}` stands where an adjective of size may go.
        strike: Makes one event; None for a texture.
        texture: Makes any length of a sound that goes on; None for a struck class.
        gap_s: Shortest and longest silence after one event before the next (slow to quick pace narrows it).
        regular: Whether events keep a steady beat.
        burst: Events per group where they come in groups (three knocks), else 1.
        small: Adjectives of a small or high one. `large`: of a large or low one.
        materials: Kind -> its own phrases, which replace `phrases`.
        countable: Whether a caption may count the events.
        paced: Whether a caption may call it quick or slow.
    """

    phrases: tuple[str, ...]
    strike: StrikeMaker | None = None
    texture: TextureMaker | None = None
    gap_s: tuple[float, float] = (0.15, 0.7)
    regular: bool = False
    burst: tuple[int, int] = (1, 1)
    small: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    materials: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    countable: bool = True
    paced: bool = False


def _p(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


CATALOGUE: Mapping[str, SoundClass] = {
    "baby_crying": SoundClass(
        _p("a {a}baby cries | a {a}baby crying | a {a}baby is crying | an infant cries | an infant wailing | a newborn crying | a {a}child crying | a toddler cries | the crying of a baby | a baby wails | babies crying"),
        strike=voices.baby_cry, gap_s=(0.1, 0.4), small=("tiny ", "little "), large=("big ",),
    ),
    "cap_gun": SoundClass(
        _p("a cap gun shooting | a cap gun fires | a toy gun popping | a toy gun fires | a toy pistol shoots | a {a}cap pistol going off | a cap gun is fired | caps popping | a cap gun cracks"),
        strike=impacts.cap_gun, gap_s=(0.25, 0.9), small=("small ",), large=("big ",),
    ),
    "rooster_crowing": SoundClass(
        _p("a {a}rooster crows | a {a}rooster crowing | a cockerel crows | a chicken crowing | a {a}rooster is crowing | cock-a-doodle-doo | the crow of a rooster | a rooster calls at dawn | a chicken crows"),
        strike=voices.crow, gap_s=(0.4, 1.2), small=("young ", "small "), large=("big ", "old "),
    ),
    "dog_barking": SoundClass(
        _p("a {a}dog barks | a {a}dog barking | a {a}dog is barking | a hound barks | the barking of a {a}dog | dogs barking | a {a}dog woofs | {a}dog bark | a guard dog barks | a dog yaps and barks | a {a}dog barks angrily"),
        strike=voices.bark, gap_s=(0.12, 0.6), small=("small ", "little ", "tiny "), large=("large ", "big ", "huge "),
    ),
    "frog_croaking": SoundClass(
        _p("a {a}frog croaks | a {a}frog croaking | frogs croaking | a {a}toad croaks | a {a}frog is croaking | ribbit of a {a}frog | a frog ribbits | the croak of a {a}frog | a bullfrog croaks"),
        strike=voices.croak, gap_s=(0.15, 0.8), small=("small ", "little "), large=("large ", "big "),
    ),
    "hammering": SoundClass(
        _p("hammering on metal | a hammer hits metal | a hammer strikes metal | a blacksmith hammering | a hammer hitting an anvil"),
        strike=impacts.hammer, gap_s=(0.15, 0.6), regular=True, paced=True,
        small=("small ",), large=("heavy ",),
        materials={
            "metal": _p("hammering on metal | a {a}hammer hits metal | a {a}hammer strikes metal | a blacksmith hammering | a {a}hammer hitting an anvil | someone hammers a metal bar | a {a}hammer banging on steel | metal being hammered | a {a}hammer clangs on iron"),
            "wood": _p("hammering on wood | a {a}hammer hits wood | hammering nails into wood | a carpenter hammering | someone hammers a nail | a {a}hammer pounding on a board | a {a}hammer hits a wooden plank | wood being hammered"),
        },
    ),
    "lion_roaring": SoundClass(
        _p("a {a}lion roars | a {a}lion roaring | a {a}lion is roaring | the roar of a {a}lion | a {a}lion growls and roars | lions roaring | a big cat roars | a tiger roars"),
        strike=voices.roar, gap_s=(0.3, 1.0), small=("young ",), large=("huge ", "old ", "mighty "),
    ),
    "machine_gun": SoundClass(
        _p("a machine gun shooting | a machine gun fires | machine gun fire | an automatic rifle fires | a burst of machine gun fire | rapid gunfire | automatic gunfire | a machine gun firing | gunfire | gunshots fired rapidly"),
        strike=impacts.gun_shot, gap_s=(0.01, 0.02), regular=True, burst=(4, 12), countable=False,
    ),
    "cello": SoundClass(
        _p("a cello playing | playing cello | someone plays the cello | a cello is played | a {a}cello melody | a cellist plays | cello music | a person playing a cello | a bow on a cello"),
        strike=instruments.cello, gap_s=(0.0, 0.04), countable=False, paced=True, large=("deep ", "low "),
    ),
    "trombone": SoundClass(
        _p("a trombone playing | playing trombone | someone plays the trombone | a trombone is played | a {a}trombone melody | a trombonist plays | a trombone slides | a person playing a trombone | trombone music"),
        strike=instruments.trombone, gap_s=(0.0, 0.08), countable=False, paced=True, large=("deep ", "low "),
    ),
    "trumpet": SoundClass(
        _p("a trumpet playing | playing trumpet | someone plays the trumpet | a trumpet is played | a {a}trumpet melody | a trumpeter plays | a trumpet fanfare | a person playing a trumpet | trumpet music | a trumpet blows"),
        strike=instruments.trumpet, gap_s=(0.0, 0.08), countable=False, paced=True, small=("bright ", "high "),
    ),
    "violin": SoundClass(
        _p("a violin playing | playing violin | someone plays the violin | a fiddle is played | a {a}violin melody | a violinist plays | a fiddler plays a fiddle | a person playing a violin | violin music | a bow on a violin"),
        strike=instruments.violin, gap_s=(0.0, 0.03), countable=False, paced=True, small=("high ",),
    ),
    "knife_sharpening": SoundClass(
        _p("a knife being sharpened | sharpening a knife | someone sharpens a knife | a {a}blade is sharpened | sharpening a {a}blade on steel | a cook sharpens knives | a {a}knife scrapes on a sharpener | knives being sharpened | metal scraping on a whetstone"),
        strike=textures.sharpen, gap_s=(0.05, 0.25), regular=True, paced=True, small=("small ",), large=("long ", "big "),
    ),
    "bowling": SoundClass(
        _p("a bowling ball hits the pins | bowling | striking bowling pins | a ball rolls and knocks down pins | a bowling strike | a bowling ball rolls down the lane and hits pins | bowling pins falling | someone bowls a strike | a bowling ball strikes the pins | bowling pins crash"),
        strike=impacts.bowling, gap_s=(0.4, 1.2),
    ),
    "toilet_flushing": SoundClass(
        _p("a toilet flushes | a toilet flushing | a toilet is flushed | flushing a toilet | someone flushes the toilet | the flush of a toilet | water swirls down a toilet | a toilet flushes and water drains"),
        strike=textures.toilet_flush, gap_s=(1.0, 2.0), countable=False,
    ),
    "footsteps": SoundClass(
        _p("footsteps | someone walking"),
        strike=impacts.footstep, gap_s=(0.2, 0.55), regular=True, paced=True, countable=False,
        small=("light ",), large=("heavy ",),
        materials={
            "gravel": _p("{a}footsteps on gravel | someone walks on gravel | walking on gravel | a person walks over gravel | {a}steps crunching on gravel | feet crunch on a gravel path"),
            "wood": _p("{a}footsteps on a wooden floor | someone walks on a wooden floor | {a}footsteps on wood | {a}steps on wooden stairs | walking across a wooden floor"),
            "floor": _p("{a}footsteps | a person walking | a man walks | {a}footsteps on a hard floor | someone walking | {a}footsteps approach | {a}shoes walking on concrete | a woman walks | {a}footsteps in a hallway"),
        },
    ),
    "door_knock": SoundClass(
        _p("knocking on a door | someone knocks on a door | a knock on the door | a person knocking on a wooden door | knocking at the door | knocks on a door | a door is knocked | a visitor knocks | {a}knocking on a door"),
        strike=impacts.knock, gap_s=(0.07, 0.2), regular=True, burst=(3, 5), countable=False, paced=True,
        small=("light ", "gentle "), large=("heavy ",),
    ),
    "glass_breaking": SoundClass(
        _p("glass breaking | glass shatters | a glass breaks | a window shatters | a {a}window breaks | glass smashing | a bottle smashes | breaking glass | a {a}glass is smashed | a {a}vase shatters on the floor | glass shattering"),
        strike=impacts.glass, gap_s=(0.3, 1.2), small=("small ",), large=("large ", "big "),
    ),
    "church_bell": SoundClass(
        _p("a {a}church bell rings | a {a}church bell ringing | {a}church bells ringing | a {a}bell tolls | a {a}bell ringing | the {a}bell of a church rings | {a}bells toll | a {a}bell chimes | a tower bell rings"),
        strike=impacts.church_bell, gap_s=(0.1, 0.9), regular=True, small=("small ",), large=("large ", "big ", "deep "),
    ),
    "clock_ticking": SoundClass(
        _p("a {a}clock ticks | a {a}clock ticking | a {a}clock is ticking | the ticking of a {a}clock | tick tock of a clock | a {a}watch ticking | a timer ticks | a metronome ticks"),
        strike=impacts.tick, gap_s=(0.17, 0.6), regular=True, countable=False, paced=True, small=("small ",), large=("large ", "big "),
    ),
    "clapping": SoundClass(
        _p("a person clapping | hands clapping | someone claps | a person claps their hands | clapping hands | applause | a man claps his hands | a woman claps | people clapping | an audience applauds"),
        strike=impacts.clap, gap_s=(0.06, 0.4), paced=True,
    ),
    "cat_meowing": SoundClass(
        _p("a {a}cat meows | a {a}cat meowing | a {a}cat is meowing | a kitten meows | the meow of a {a}cat | a {a}cat cries | cats meowing | a {a}cat mews | a kitten mewing"),
        strike=voices.meow, gap_s=(0.15, 0.8), small=("small ", "little ", "young "), large=("large ", "big ", "old "),
    ),
    "bird_chirping": SoundClass(
        _p("a {a}bird chirps | a {a}bird chirping | birds chirping | birds singing | a {a}bird sings | a {a}bird is singing | birds tweeting | a {a}bird tweets | a songbird sings | the song of a {a}bird | sparrows chirping | a bird whistles"),
        strike=voices.chirp, gap_s=(0.08, 0.6), small=("small ", "little ", "tiny "), large=("large ", "big "), countable=False,
    ),
    "car_horn": SoundClass(
        _p("a car horn honks | a car honks | a {a}car horn honking | a vehicle horn blows | honking a horn | a {a}horn beeps | a driver honks | a {a}truck honks its horn | a horn honking | a taxi honks | cars honking | a car horn beeps"),
        strike=instruments.car_horn, gap_s=(0.08, 0.6), paced=True, small=("small ",), large=("big ", "large "),
    ),
    "typing": SoundClass(
        _p("typing on a keyboard | someone types on a keyboard | a person typing | a keyboard clicking | typing on a computer keyboard | a typist types | fingers typing on a keyboard | keys of a keyboard clacking | someone is typing | typing on a typewriter"),
        strike=impacts.key_press, gap_s=(0.02, 0.12), countable=False, paced=True,
    ),
    "explosion": SoundClass(
        _p("an explosion | a {a}explosion | a bomb explodes | something explodes | a {a}blast | a bomb goes off | a {a}explosion booms | an explosion rumbles | a grenade explodes | artillery explodes | cannon fire"),
        strike=impacts.explosion, gap_s=(0.0, 1.0), small=("small ",), large=("large ", "huge ", "massive "),
    ),
    "man_speaking": SoundClass(
        _p("a man speaking | a man talking | a {a}man speaks | a man talks | a male voice speaking | a {a}male speaks | a man is talking | a man giving a speech | male speech | a man says something | a gentleman talking | a boy speaks"),
        strike=voices.man_speaking, gap_s=(0.15, 0.5), countable=False, large=("deep-voiced ", "big "),
    ),
    "woman_speaking": SoundClass(
        _p("a woman speaking | a woman talking | a {a}woman speaks | a woman talks | a female voice speaking | a female speaks | a woman is talking | a woman giving a speech | female speech | a lady talks | a girl speaks | a woman says something"),
        strike=voices.woman_speaking, gap_s=(0.15, 0.5), countable=False, small=("young ",),
    ),
    "thunder": SoundClass(
        _p("thunder"),
        strike=textures.thunder, gap_s=(0.0, 1.0), countable=False,
        materials={
            "clap": _p("a clap of thunder | thunder claps | a thunderclap | thunder cracks | a crack of thunder | lightning strikes and thunder rolls | thunder | loud thunder | a thunder strike"),
            "rumble": _p("thunder rumbles | rumbling thunder | a roll of thunder | thunder rolls | distant thunder | a thunderstorm rumbles | thunder rumbling"),
        },
    ),
    "siren": SoundClass(
        _p("a siren wails | a siren"),
        texture=textures.siren, paced=True,
        materials={
            "wail": _p("a siren wails | a police siren | an emergency siren wailing | a siren sounding | a police car with its siren on | sirens wailing | a fire truck siren | a siren goes off | an emergency vehicle passes with a siren"),
            "two-tone": _p("a two-tone siren | an ambulance siren | an ambulance with a two-tone siren | an ambulance drives by with its siren | a two-tone siren sounding | a siren of two tones | an ambulance passing | an ambulance passes with a siren | a European siren | an ambulance siren goes off | a siren alternating between two notes"),
        },
    ),
    "rain": SoundClass(
        _p("rain"),
        texture=textures.rain,
        materials={
            "": _p("rain falling | rain falls | rain | it is raining | the sound of rain | rain on a roof | rain hitting a window | raining | rainfall | raindrops falling | rain pattering on leaves | rain pours | a rain shower"),
            "heavy": _p("heavy rain | rain pouring down | heavy rain falls | pouring rain | rain pours down heavily | a downpour | a heavy rain shower | hard rain"),
            "light": _p("light rain | rain dripping | drizzle | gentle rain falls | light rain falling | soft rain | a light drizzle | rain dripping slowly"),
        },
    ),
    "wind": SoundClass(
        _p("wind blowing | the wind blows | wind howling | the wind howls | strong wind | a {a}wind blows | gusts of wind | wind whistles | wind blowing through trees | a storm wind howls | a breeze blows | wind"),
        texture=textures.wind, small=("shrill ", "high "), large=("low ", "deep "),
    ),
    "ocean_waves": SoundClass(
        _p("ocean waves | waves crashing on a beach | the sea | ocean waves crash on the shore | waves lapping the shore | surf on a beach | sea waves | waves rolling in | the ocean | waves breaking on rocks | waves crash"),
        texture=textures.ocean_waves,
    ),
    "stream": SoundClass(
        _p("water flowing | a {a}stream flows | a brook babbling | a {a}river flowing | running water | water running from a tap | a {a}stream of water flowing | water trickling | a faucet running | a creek babbles | water gurgling | water flows in a {a}creek"),
        texture=textures.stream, small=("small ", "little "), large=("large ", "wide "),
    ),
    "fire_crackling": SoundClass(
        _p("a fire crackling | a fire crackles | a campfire crackles | wood burning | a {a}fire burns | a fireplace crackling | flames crackle | a {a}bonfire crackling | a campfire | burning wood crackles | a fire is burning"),
        texture=textures.fire, small=("small ",), large=("large ", "big "),
    ),
    "engine": SoundClass(
        _p("an engine"),
        texture=textures.engine,
        small=("small ",), large=("large ", "big ", "heavy "),
        materials={
            "": _p("an engine running | a car engine idling | a {a}engine idles | a car driving | a {a}vehicle drives | a {a}truck engine running | a motor running | a {a}motor hums | a car engine | a {a}vehicle engine | a car drives by | a bus drives | a {a}engine hums"),
            "revving": _p("an engine revving | a car engine revs | a {a}engine revving | a motorcycle revs | a {a}motor revs up | revving an engine | a race car revs | a {a}vehicle revs its engine"),
            "accelerating": _p("a car accelerates | an engine accelerating | a car drives away | a {a}vehicle accelerates | a motorcycle accelerates | a {a}truck drives away | a car speeds up | a {a}vehicle drives off"),
        },
    ),
    "crickets": SoundClass(
        _p("crickets chirping | crickets | crickets chirp at night | insects chirping | a cricket chirps | crickets singing in the grass | night insects | the chirping of crickets | cicadas buzzing"),
        texture=textures.crickets,
    ),
    "helicopter": SoundClass(
        _p("a helicopter flying | a {a}helicopter | a helicopter hovers | a {a}helicopter flies overhead | helicopter blades spinning | a chopper flies by | a {a}helicopter passes | the rotor of a {a}helicopter | a {a}helicopter landing"),
        texture=textures.helicopter, small=("small ",), large=("large ", "big ", "heavy "),
    ),
}
"""Class name -> sound class. The order is the label order of the bundled classifier."""

CLASS_NAMES: tuple[str, ...] = tuple(CATALOGUE)
