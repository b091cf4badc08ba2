"""What stands against an image, without a launch."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from daemon.api.access import Access
from daemon.api.launching import OF_ASSESSMENTS
from daemon.api.routes import Route, answer, parse
from daemon.sandbox.executor import Executor
from daemon.sandbox.options import ImageName, Name
from daemon.sandbox.report import SecurityReport

ANSWERS = (
    "The same verdicts as in the report of a launch, of the image alone. Where the policy asks for a scan "
    "that has not been made yet, the answer takes as long as that."
)


class ImageCheck(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: ImageName
    profile: Name = Field(default="default", description="whose registries and requirements are meant")


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
            )
        ]

    async def check(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        asked = await parse(request, ImageCheck)
        self._access.check_profile(caller, asked.profile)
        return answer(await self._executor.check_image(asked.image, asked.profile))
