"""The words of answers, as data: function names, units, and the words that change a number.

One list a line; reading them is the business of the other files of this folder.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text that are set off by blanks."""
    return frozenset(text.split())


# Names of functions, as LaTeX and Python write them.
FUNCTIONS = words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc asin acos atan sinh cosh tanh coth "
    "sech csch arsinh arcosh artanh arcsinh arccosh arctanh asinh acosh atanh ln log lg exp sqrt cbrt abs "
    "floor ceil gcd lcm max min det arg Re Im sgn sign erf Gamma"
)

# Commands that are symbols.
GREEK = words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho "
    "varrho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi "
    "Omega ell hbar aleph partial nabla odot oplus star ast dagger"
)

# Commands that only place things.
SPACING = words(
    r"\, \! \; \: \> \ \quad \qquad \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr "
    r"\middle \displaystyle \textstyle \limits \nolimits \nonumber \thinspace \hfill \hline \rm \bf \it \cal "
    r"\bm \notag"
)

# Commands whose argument is text or a name in another face.
TEXT_COMMANDS = words(
    r"\text \textbf \textrm \textit \textsf \texttt \textnormal \mbox \hbox \mathrm \mathbf \mathit \mathsf "
    r"\mathtt \boldsymbol \operatorname \emph \rm \underline \mathnormal \textsc \mathop"
)

# Words behind a number that are units; a word that is none may still be one when it is set off by a blank.
UNITS = words(
    "mm cm dm km mi ft yd in inch inches foot feet yard yards mile miles meter meters metre metres centimeter "
    "centimeters centimetre centimetres kilometer kilometers millimeter millimeters mg kg lb lbs oz gram "
    "grams gm gms kilogram kilograms pound pounds ounce ounces ton tons ml mL cl dl dL liter liters litre "
    "litres gallon gallons gal qt quart quarts pt pint pints cup cups sec secs second seconds min mins minute "
    "minutes hr hrs hour hours day days week weeks month months year years yr yrs ms ns mph kph kmh rpm km/h "
    "m/s ft/s sq cu square cubic unit units cent cents dollar dollars degree degrees deg percent percentage "
    "point points radian radians rad pm am Hz kHz MHz kW kWh mW Pa kPa eV keV MeV GeV mol amu nm um atm bar "
    "psi Wh mA mV kV"
)

# Words that change the number they follow, or make it something else than one number.
CHANGES = words(
    "half halves third thirds fourth fourths fifth fifths sixth sixths eighth eighths tenth tenths quarter "
    "quarters hundredth hundredths thousandth dozen dozens squared cubed factorial plus minus divided over "
    "than least most not remainder choose power base if where when mod modulo times but except without "
    "per-cent nor"
)

# Short words that are no product of variables.
NO_PRODUCT = words("as at by my am an max min mr dr vs is it in if hi")

# Ways to say that there is no answer.
NOTHING = words(
    "nosolution nosolutions norealsolution norealsolutions nosuchnumber none emptyset theemptyset nosuchnumbers"
)

# Small words inside a unit: 4 inches per second.
LITTLE = words("a an of in on at to by as per for her his")

# Functions of one argument that are evaluated directly.
CONTINUOUS = words(
    "sin cos tan sinh cosh tanh arcsin arccos arctan arsinh arcosh artanh ln erf gamma arccot arcsec arccsc"
)

_COUNT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
# Number words and their values.
NUMERALS = {word: n for n, word in enumerate(_COUNT.split())}

# Words that multiply the number in front of them.
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

# Spellings of units; an empty name is not compared.
UNIT_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi",
    "gram": "g", "gm": "g", "kilogram": "kg", "pound": "lb", "ounce": "oz", "second": "s", "sec": "s", "minute": "min",
    "hour": "h", "hr": "h", "liter": "l", "litre": "l", "cent": "cent", "dollar": "dollar", "gallon": "gal",
    "milliliter": "ml", "square": "", "sq": "", "cubic": "", "cu": "", "per": "", "day": "day", "week": "week",
    "year": "yr", "month": "month", "am": "am", "pm": "pm", "mph": "mi h", "kph": "km h", "kmh": "km h", "rpm": "rpm",
}  # fmt: skip

# Names of units that can disagree: 5 cm is not 5 m, while 5 apples say nothing.
MEASURES = frozenset({*UNIT_NAMES.values(), "cm", "mm", "km", "kg", "mg", "ml"} - {"", "dollar", "mi h", "km h"})
