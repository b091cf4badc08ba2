"""What stands against an image, without a launch."""

from __future__ import annotations

from typing import Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from daemon.api.access import Access
from daemon.api.launching import OF_ASSESSMENTS
from daemon.api.routes import Route, answer, parse
from daemon.images.findings import SignatureFindings
from daemon.images.gate import SignatureReview
from daemon.sandbox.executor import Executor
from daemon.sandbox.options import ImageName, Name
from daemon.sandbox.report import SecurityReport

ANSWERS = (
    "The same verdicts as in the report of a launch, of the image alone. Where the policy asks for a scan "
    "that has not been made yet, the answer takes as long as that."
)


SIGNATURES = (
    "Which of the policy's keys signed the manifests that it was pulled by, and why other signatures do not "
    "count. The registry is asked, unless enough good ones are known from before."
)


class ImageCheck(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: ImageName
    profile: Name = Field(default="default", description="whose registries and requirements are meant")


class ManifestSignatures(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(description="the manifest, NAME@sha256:...")
    required_by: str = Field(description="the rule or profile that asks for it")
    threshold: int = Field(description="how many different signers it asks for")
    signed_by: list[str] = Field(description="those of the policy that signed it, each once")
    refused: list[str] = Field(description="why each of the other signatures does not count")
    met: bool
    problem: str | None = Field(description="that there is none, or why nobody can tell")


class SignatureCheck(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    image_id: str
    met: bool = Field(description="false also where there are `problems`; true where none is asked for")
    manifests: list[ManifestSignatures] = Field(description="empty where the policy asks for no signature")
    problems: list[str] = Field(description="why a signature cannot even be looked for")

    @classmethod
    def of(cls, image: str, image_id: str, review: SignatureReview) -> Self:
        manifests = [_manifest(source, found) for source, found in review.findings]
        return cls(
            image=image, image_id=image_id, met=review.met, manifests=manifests, problems=[*review.problems]
        )


def _manifest(source: str, found: SignatureFindings) -> ManifestSignatures:
    return ManifestSignatures(
        image=found.image,
        required_by=source,
        threshold=found.threshold,
        signed_by=[*found.signers],
        refused=[*found.refused],
        met=found.met,
        problem=found.problem,
    )


class Images:
    def __init__(self, executor: Executor, access: Access) -> None:
        self._executor = executor
        self._access = access

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v1/images/check",
                self.check,
                "Judge an image",
                ImageCheck,
                SecurityReport,
                errors=OF_ASSESSMENTS,
                description=ANSWERS,
            ),
            Route(
                "POST",
                "/v1/images/sign-check",
                self.sign_check,
                "Who signed an image",
                ImageCheck,
                SignatureCheck,
                errors=OF_ASSESSMENTS,
                description=SIGNATURES,
            ),
        ]

    async def check(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        asked = await parse(request, ImageCheck)
        self._access.check_profile(caller, asked.profile)
        return answer(await self._executor.check_image(asked.image, asked.profile))

    async def sign_check(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        asked = await parse(request, ImageCheck)
        self._access.check_profile(caller, asked.profile)
        facts, review = await self._executor.check_signatures(asked.image, asked.profile)
        return answer(SignatureCheck.of(asked.image, facts.id, review))
