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
    "floor ceil cis gcd lcm max min det arg Re Im sgn sign erf Gamma"
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
    r"\bm \notag \blacksquare \square \Box \qed \checkmark"
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
    "psi Wh mA mV kV cc st nd rd th"
)

# Words that change the number they follow, or make it something else than one number.
CHANGES = words(
    "half halves third thirds fourth fourths fifth fifths sixth sixths eighth eighths tenth tenths quarter "
    "quarters hundredth hundredths thousandth dozen dozens squared cubed factorial plus minus divided over "
    "than least most not remainder choose power base if where when mod modulo times but except without "
    "per-cent nor is are was were"
)

# Short words that are no product of variables.
NO_PRODUCT = words("as at by my am an max min mr dr vs is it in if hi")

# Ways to say that there is no answer.
NOTHING = words(
    "nosolution nosolutions norealsolution norealsolutions nosuchnumber none emptyset theemptyset nosuchnumbers"
)

# Other ways to say the same, without blanks.
SAME_WORDS = {
    "dne": "doesnotexist", "limitdoesnotexist": "doesnotexist", "doesn'texist": "doesnotexist",
    "infinitelymanysolutions": "infinitelymany", "infinitenumberofsolutions": "infinitelymany",
    "thereisnosolution": "nosolution", "therearenosolutions": "nosolutions",
    "therearenorealsolutions": "norealsolutions",
    "notdefined": "undefined", "isundefined": "undefined",
}  # fmt: skip

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

TENS = {word: 10 * n for n, word in enumerate(["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 3)}

# Words that multiply the number in front of them.
SCALES = {
    "dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip

# The denominators of fractions in words.
DENOMINATORS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4, "hundredth": 100, "hundredths": 100} | {
    word + end: n
    for n, word in enumerate(["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], 3)
    for end in ("", "s")
}

# Names of quantities that can be told apart, by spelling; what is not here (apples) says nothing.
# Case counts for symbols (mW is not MW); for words it does not. One thing per name: nothing is converted.
UNIT_NAMES = {
    "m": "m", "meter": "m", "metre": "m", "cm": "cm", "centimeter": "cm", "centimetre": "cm", "mm": "mm",
    "millimeter": "mm", "millimetre": "mm", "km": "km", "kilometer": "km", "kilometre": "km", "dm": "dm", "nm": "nm",
    "in": "in", "inch": "in", "inche": "in", "ft": "ft", "foot": "ft", "feet": "ft", "yd": "yd", "yard": "yd",
    "mi": "mi", "mile": "mi", "g": "g", "gm": "g", "gram": "g", "kg": "kg", "kilogram": "kg", "mg": "mg",
    "milligram": "mg", "lb": "lb", "pound": "lb", "oz": "oz", "ounce": "oz", "ton": "ton", "s": "s", "sec": "s",
    "second": "s", "ms": "ms", "min": "min", "minute": "min", "h": "h", "hr": "h", "hour": "h", "day": "day",
    "week": "week", "month": "month", "yr": "yr", "year": "yr", "l": "l", "L": "l", "liter": "l", "litre": "l",
    "ml": "ml", "mL": "ml", "milliliter": "ml", "millilitre": "ml", "cc": "cm^3", "gal": "gal", "gallon": "gal",
    "cent": "cent", "¢": "cent", "dollar": "dollar", "am": "am", "pm": "pm", "rpm": "rpm", "mph": "mi/h",
    "kph": "km/h", "kmh": "km/h", "radian": "rad", "rad": "rad", "celsius": "celsius", "fahrenheit": "fahrenheit",
    "K": "K", "kelvin": "K", "A": "A", "ampere": "A", "amp": "A", "mol": "mol", "mole": "mol", "N": "kg m/s^2",
    "newton": "kg m/s^2", "J": "kg m^2/s^2", "joule": "kg m^2/s^2", "Nm": "kg m^2/s^2", "W": "kg m^2/s^3",
    "watt": "kg m^2/s^3", "Pa": "kg m^-1/s^2", "pascal": "kg m^-1/s^2", "Hz": "s^-1", "hertz": "s^-1", "V": "V",
    "volt": "V", "C": "A s", "coulomb": "A s", "F": "F", "farad": "F", "Omega": "ohm", "ohm": "ohm", "kW": "kW",
    "MW": "MW", "mW": "mW", "kHz": "kHz", "MHz": "MHz", "kPa": "kPa", "eV": "eV", "keV": "keV", "MeV": "MeV",
    "GeV": "GeV",
}  # fmt: skip

# Symbols of units that are also letters of mathematics: 5 m.
UNIT_LETTERS = words("m g s h l L N J W V A K C F T Omega")
