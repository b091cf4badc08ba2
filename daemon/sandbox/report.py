"""SecurityReport: what was judged before a launch, and how it came out."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class RiskLevel(StrEnum):
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"

    @property
    def blocks(self) -> bool:
        return self in {RiskLevel.HIGH, RiskLevel.CRITICAL}


class Threat(BaseModel):
    """One way in which the sandbox would be weaker than it should be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="stable name of the rule, such as `mount.dangerous`")
    severity: RiskLevel
    reason: str = Field(description="what is wrong, in one sentence, with the offending value")
    remedy: str = Field(description="what to change")
    cis: str | None = Field(default=None, description="item of the CIS Docker Benchmark 1.6, section 5")
    attack: str | None = Field(default=None, description="MITRE ATT&CK technique")


class Control(BaseModel):
    """One protection that the sandbox will have, or has by attestation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    detail: str


class SecurityReport(BaseModel):
    """The same request against the same profile, image and engine state gives the same report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="digest of everything that could change the verdict")
    risk_level: RiskLevel
    score: int = Field(
        ge=0, description="sum of the threats' weights: LOW 1, MEDIUM 10, HIGH 100, CRITICAL 1000"
    )
    blocked: bool
    threats: list[Threat]
    active_controls: list[Control]
    profile: str
    profile_digest: str
    image: str
    image_id: str | None

    @property
    def reasons(self) -> list[str]:
        """Why a blocked request was blocked, worst first."""
        rank = list(RiskLevel)
        worst = sorted(self.threats, key=lambda threat: -rank.index(threat.severity))
        return [threat.reason for threat in worst if threat.severity.blocks]
