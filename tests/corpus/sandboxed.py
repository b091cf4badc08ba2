"""Runs cases as sandboxes, through the API: what holds an attack, and what lets ordinary work be done."""

from __future__ import annotations

from dataclasses import dataclass

from tests.corpus.case import Attack, Benign, Verdict
from tests.corpus.host import Host
from tests.corpus.outcome import Outcome, outcome, verdict
from tests.running import Daemon


@dataclass(frozen=True)
class Launched:
    sandbox_id: str
    outcome: Outcome
    verdict: Verdict


def launch(running: Daemon, case: Attack | Benign, profile: str, image: str, host: Host) -> Launched:
    """Raises if it is not launched. An attack goes without the options that it needs: no profile gives them.

    What a case has to know comes as arguments of env(1): `strict` lets few variables pass.
    """
    variables = [f"{name}={value}" for name, value in host.variables(case.id, image).items()]
    command = ["env", *variables, "sh", f"{case.path}/run.sh"]
    result = running.run(image, *command, profile=profile, limits={"timeout_s": case.timeout_s})
    if "sandbox_id" not in result:
        raise RuntimeError(f"{case.id} was not launched: {result}")
    seen = outcome(case, result["exit_code"], result["stdout"] + result["stderr"], host.canary)
    return Launched(result["sandbox_id"], seen, verdict(case, seen))
