"""What the resources of all kinds of jobs have in common: finding, showing, stopping and deleting one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ResourceInUse, ResourceNotFound, ValidationException
from localaws.kinds import ResourceKind
from localaws.states import Transitions
from localaws.store import StoredResource

BEHAVIOURS = (
    Behaviour(
        "Describe of an unknown job: `ValidationException`", "seen", "the Airflow provider takes this code for none"
    ),
    Behaviour("deleting an unknown job `ResourceNotFound`, a live one `ResourceInUse`", "assumed"),
    Behaviour("stopping a job that has ended: `ValidationException`", "assumed"),
    Behaviour("texts of all other 'not found' and 'already exists' errors", "assumed"),
)


@dataclass(frozen=True)
class JobRecords:
    """The records of one kind of job: what they are called in errors, what follows on what, how a stop begins.

    `missing` is AWS's sentence for a name that is not there, with `{name}`; `begin_stop` writes that a job is being
    stopped and ends what runs, and says False when the status forbids it.
    """

    kind: ResourceKind
    missing: str
    table: Transitions
    begin_stop: Callable[[Context, str], bool]

    def find(self, ctx: Context, name: str) -> StoredResource:
        """The job; ValidationException when there is none (the Airflow provider takes exactly this code as such)."""
        found = ctx.store.get(self.kind.word, name)
        if found is None:
            raise ValidationException(self.missing.format(name=name))
        return found

    def stop(self, ctx: Context, name: str) -> None:
        """Begin to stop a job; ValidationException when it has ended or is being stopped."""
        self.find(ctx, name)
        if not self.begin_stop(ctx, name):
            status = self.find(ctx, name).status
            raise ValidationException(f"The request was rejected because the {self.kind.words} is in status {status}.")

    def delete(self, ctx: Context, name: str) -> None:
        """Remove the record of a job that has ended; ResourceNotFound, ResourceInUse."""
        with ctx.store.exclusive():
            found = ctx.store.get(self.kind.word, name)
            if found is None:
                raise ResourceNotFound(self.missing.format(name=name))
            if found.status not in self.table.terminal:
                raise ResourceInUse(f"The {self.kind.words} {name} is in status {found.status}: stop it first")
            ctx.store.delete(self.kind.word, name)

    def unfinished(self, ctx: Context) -> Iterable[StoredResource]:
        """The jobs that an earlier run of the endpoint has left."""
        return [found for found in ctx.store.list(self.kind.word) if found.status not in self.table.terminal]
