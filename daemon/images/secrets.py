"""What a key or password looks like in plain text: by its form, or by the name of its variable."""

from __future__ import annotations

import re

TEXT_CHARACTERS = 64 << 10

_FORMS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY"),
    "a JSON web token": re.compile(
        r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10}"
    ),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@$]{1,200}:[^/\s:@$]{1,200}@"),
}
_NAME = re.compile(
    r"(?:^|_)(?:PASS(?:WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)$",
    re.IGNORECASE,
)
# `PWD` is a shell's own; a path names where a secret is, not what it is.
_PLAIN_NAMES = {"PWD", "OLDPWD"}


def by_form(text: str) -> str | None:
    """What it looks like."""
    cut = text[:TEXT_CHARACTERS]
    return next((name for name, form in _FORMS.items() if form.search(cut)), None)


def by_name(name: str, value: str) -> bool:
    """Whether a variable of that name holds a secret in plain text."""
    is_reference = not value or value.startswith(("/", "$"))
    return bool(_NAME.search(name)) and name not in _PLAIN_NAMES and not is_reference
