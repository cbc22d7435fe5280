"""What GREEN's judge is asked, as published (Ostmeier et al., Findings of EMNLP 2024, 374-390).

The wording of the prompt, the cut to 300 words and the chat template are those of the authors'
code, github.com/Stanford-AIMI/GREEN (green_score/utils.py and green.py, commit d72c195): they are
part of the method, and the weights were trained on them.
"""

from __future__ import annotations

CUT = 300  # words, of the reference and of the candidate

_ERRORS = "<Error Type>: <The number of errors>. <Error 1>; <Error 2>; ...; <Error n>"

# The indentation of four blanks is part of the published text.
PROMPT = f"""\
Objective: Evaluate the accuracy of a candidate radiology report in comparison to a reference \
radiology report composed by expert radiologists.

    Process Overview: You will be presented with:

    1. The criteria for making a judgment.
    2. The reference radiology report.
    3. The candidate radiology report.
    4. The desired format for your assessment.

    1. Criteria for Judgment:

    For each candidate report, determine:

    The count of clinically significant errors.
    The count of clinically insignificant errors.

    Errors can fall into one of these categories:

    a) False report of a finding in the candidate.
    b) Missing a finding present in the reference.
    c) Misidentification of a finding's anatomic location/position.
    d) Misassessment of the severity of a finding.
    e) Mentioning a comparison that isn't in the reference.
    f) Omitting a comparison detailing a change from a prior study.
    Note: Concentrate on the clinical findings rather than the report's writing style. Evaluate \
only the findings that appear in both reports.

    2. Reference Report:
    {{reference}}

    3. Candidate Report:
    {{candidate}}

    4. Reporting Your Assessment:

    Follow this specific format for your output, even if no errors are found:
    ```
    [Explanation]:
    <Explanation>

    [Clinically Significant Errors]:
    (a) {_ERRORS}
    ....
    (f) {_ERRORS}

    [Clinically Insignificant Errors]:
    (a) {_ERRORS}
    ....
    (f) {_ERRORS}

    [Matched Findings]:
    <The number of matched findings>. <Finding 1>; <Finding 2>; ...; <Finding n>
    ```
"""


def make_prompt(reference: str, candidate: str, cut: int | None = CUT) -> str:
    """The question about one pair; each text keeps its first `cut` words, parted by one blank."""
    # Not str.format: a report may hold braces.
    before, _, rest = PROMPT.partition("{reference}")
    between, _, after = rest.partition("{candidate}")
    return before + shorten(reference, cut) + between + shorten(candidate, cut) + after


def shorten(text: str, cut: int | None) -> str:
    """The first `cut` words of a text (None: all), parted by single blanks."""
    return " ".join(text.split()[:cut])


def chat_text(prompt: str, eos: str) -> str:
    """The prompt in the published chat template.

    The authors' code hands the template an empty answer of the assistant *and* asks it for a
    generation prompt, so the assistant's turn is opened twice. The scores they publish were made
    so, and so it stays.
    """
    return f"<|user|>\n{prompt}{eos}\n<|assistant|>\n{eos}\n<|assistant|>\n"
