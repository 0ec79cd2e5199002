"""GSM8K answered by a program: the function ``solution()``, 8 examples of PAL (Gao et al., 2022), greedy.

The paper asks the questions of Lila's copy of GSM8K; here they are those of GSM8K itself, whose answers are the same
numbers in another form. The model writes the body after ``# solution in Python:`` and stops at the next ``Q:``.
"""

from __future__ import annotations

from llemma.errors import ConfigError
from llemma.grade.paper.programs import GSM8K_PYTHON, gsm8k_program
from llemma.records import Program, Sampling, Shot, Task
from llemma.tasks import gsm8k
from llemma.tasks._programs import strict_value, with_output
from llemma.tasks._prompts import PUBLISHED, Choice, Form, Shots, identity, published, split
from llemma.tasks._scoring import equal_classes, key, program_scorers
from llemma.tasks._words import Options

TURN = "\n\n# solution in Python:"
FORM = Form(head="Q:", turn=TURN, between="\n\n\n\n\n\n")

# Written for this project: question, and the function that answers it.
EXAMPLES = (
    (
        "A bakery fills 7 trays with 12 rolls each. By noon 59 rolls are sold. How many rolls are left?",
        "    trays = 7\n    rolls_per_tray = 12\n    sold = 59\n    result = trays * rolls_per_tray - sold\n",
        "25",
    ),
    (
        "A coat costs $160. In the winter sale it is 25% cheaper, and Omar has a voucher for another $15 off. He pays "
        "with three $50 notes. How many dollars does he get back?",
        "    price = 160\n    reduced = price * (1 - 0.25)\n    to_pay = reduced - 15\n    given = 3 * 50\n"
        "    result = given - to_pay\n",
        "45",
    ),
    (
        "In a choir there are twice as many altos as tenors and 6 more sopranos than altos. The choir has 41 singers "
        "in these three voices. How many sopranos are there?",
        "    singers = 41\n    more_sopranos = 6\n    # tenors + 2 * tenors + (2 * tenors + 6) = singers\n"
        "    tenors = (singers - more_sopranos) / 5\n    result = 2 * tenors + more_sopranos\n",
        "20",
    ),
    (
        "A farmer packs 437 apples into bags of 20. How many more apples would he need to fill one more bag?",
        "    apples = 437\n    bag = 20\n    left = apples % bag\n    result = bag - left\n",
        "3",
    ),
)


def load(options: Options) -> Task:
    """The problems of GSM8K, to be answered by programs. Raises DataError when they cannot be had."""
    base = gsm8k.load(Options(prompt="own", shots=0))
    examples = _shots(options.prompt, options.shots)
    data = {name: value for name, value in base.meta.items() if name != "shots" and not name.startswith("prompt")}
    return Task(
        name="gsm8k_python",
        problems=base.problems,
        prompt=lambda problem: examples.prefix + question(problem.prompt),
        grade=strict_value,
        key=key,
        classes=equal_classes,
        sampling=Sampling(max_tokens=1024, stop=("Q:",)),
        scorers=program_scorers("gsm8k_python"),
        shots=examples.single,
        state=lambda problem: with_output(f"\n\n\ndef solution():\n    return {problem.answer}\n", problem.answer),
        tools=("python",),
        program=Program(extract=program_in, wanted="solution", rules=GSM8K_PYTHON),
        meta={**examples.meta, **data},
    )


def program_in(completion: str) -> str | None:
    """The program of a completion: all of it."""
    return gsm8k_program(completion) or None


def question(text: str) -> str:
    """The question as the model sees it, up to where its program begins."""
    return f"Q: {text}{TURN}"


def own_examples() -> list[Shot]:
    """Our examples."""
    return [
        Shot(
            question=question(asked),
            completion=f'\n\n\ndef solution():\n    """{asked}"""\n{body}    return result',
            answer=answer,
        )
        for asked, body, answer in EXAMPLES
    ]


def _shots(choice: Choice, count: int | None) -> Shots:
    """The examples; the paper's text ends with the place of the question, which is filled by ours."""
    found = published("gsm8k_python", choice)
    if found is None:
        single, origin = own_examples(), "llemma"
    else:
        parts = split(found.strip(), FORM)[:-1]  # the paper's code strips the text as well
        single = []
        for part in parts:
            asked, turn, completion = part.partition(TURN)
            single.append(Shot(question=asked + turn, completion=completion, answer=None))
        origin = PUBLISHED["gsm8k_python"].origin
    if count is not None and not 0 <= count <= len(single):
        raise ConfigError(f"shots={count}: there are examples for 0 to {len(single)} ({origin})")
    whole = count is None or count == len(single)
    single = single[:count]
    text = FORM.between.join(shot.question + shot.completion for shot in single)
    prefix = text + FORM.between if single else ""
    meta = identity("own" if found is None else "paper", origin, found if found and whole else text, len(single))
    return Shots(prefix=prefix, single=tuple(single), meta=meta)
