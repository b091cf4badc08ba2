"""An image that is asked for: its name, which bytes that means here, and the names of their manifests."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.images.reference import Reference, is_id, parse
from daemon.sandbox.facts import ImageFacts


@dataclass(frozen=True, slots=True)
class Candidate:
    """`named` is None where it was asked for by its id. `pulled` are names with digests of manifests."""

    image: ImageFacts
    named: Reference | None
    pulled: tuple[Reference, ...]

    @classmethod
    def of(cls, asked: str, image: ImageFacts) -> Candidate:
        """Raises BadReference, also for a name that the engine has."""
        named = None if is_id(asked) else parse(asked)
        return cls(image, named, tuple(parse(digest) for digest in image.digests))

    @property
    def references(self) -> tuple[Reference, ...]:
        """One for each name that it goes by."""
        asked = (self.named,) if self.named else ()
        return tuple({one.name: one for one in (*self.pulled, *asked)}.values())

    @property
    def pinned(self) -> bool:
        """Whether it was asked for in a way that means these bytes and no others."""
        return self.named is None or self.named.digest is not None

    @property
    def consistent(self) -> bool:
        """Whether the digest that was asked for is one that these bytes have, where one was."""
        if self.named is None or self.named.digest is None:
            return True
        return self.named.digest in self.digests_of(self.named)

    def digests_of(self, reference: Reference) -> list[str]:
        """Of manifests that it was pulled by, under this very name."""
        return [one.digest for one in self.pulled if one.digest and one.name == reference.name]
