"""What a user should know about the data and the model before a training begins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from antiphon.config.memory import Estimate, estimate, readable
from antiphon.config.sections import Config
from antiphon.data import findings
from antiphon.data.findings import NAMES, Finding
from antiphon.data.kind import MEANING, Kind
from antiphon.data.scan import Scan, Side, language_identifier
from antiphon.errors import extra
from antiphon.words import counted


@dataclass(frozen=True)
class Part:
    """The training, development or test pairs."""

    name: str
    specs: list[str]
    pairs: int
    source: Side | None
    target: Side | None


@dataclass(frozen=True)
class Report:
    """What `inspect` found, errors first."""

    parts: list[Part]
    findings: list[Finding]
    estimate: Estimate | None  # None: no configuration, or training data that cannot be read
    kind: Kind | None = None  # of task that the training data look like; None: it was not looked at

    @property
    def ok(self) -> bool:
        """No finding is an error: training can begin."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {"ok": self.ok} | asdict(self)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for part in self.parts:
            yield f"{NAMES[part.name]}: {counted(part.pairs, 'pair')} in {' '.join(part.specs)}"
            for name, side in (("source", part.source), ("target", part.target)):
                if side:
                    yield f"  {name} characters: {side.characters}"
                    yield f"  {name} words:      {side.words}"
                    kinds = [f"script {side.script}"] if side.script else []
                    kinds += [f"language {side.language}"] if side.language else []
                    yield f"  {name} looks like: {', '.join(kinds) or 'unknown'}"
        if self.kind:
            yield f"kind of data: {self.kind} ({MEANING[self.kind]})"
        if self.estimate:
            e = self.estimate
            yield (
                f"model: {e.parameters:,} parameters with vocabularies of at most {e.source_vocabulary:,} and "
                f"{e.target_vocabulary:,} pieces; weights {readable(e.weights_bytes)}, training about "
                f"{readable(e.training_bytes)} beside PyTorch itself"
            )
        yield from (finding.line() for finding in self.findings)
        if not self.findings:
            yield "no problems"


def inspect(
    train: Sequence[str],
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    source: str = "",
    target: str = "",
    config: Config | None = None,
    progress: Callable[[int], None] | None = None,
    kind: Kind | None = None,
) -> Report:
    """Read all corpora once and report on them; what cannot be read becomes a finding, not an exception.

    Args:
        train: the training corpora; see `corpus.read`.
        valid: those of the development set.
        test: those of the test set.
        source: column or field of the source.
        target: column or field of the target.
        config: configuration that the data must fit, and whose memory is estimated; None: only the data are looked at.
        progress: called now and then with the number of pairs read so far.
        kind: of task that the training data look like.
    """
    scans: list[Scan] = []
    for name, specs in (("train", train), ("valid", valid), ("test", test)):
        if specs:
            scans.append(Scan(name, specs, sum(scan.pairs for scan in scans), progress))
            scans[-1].read(source, target)
    identifier = language_identifier()
    sides = [(scan.side(0, identifier), scan.side(1, identifier)) for scan in scans]
    some = [finding for scan in scans for finding in findings.of_reading(scan)]
    for scan, both in zip(scans, sides, strict=True):
        some += [*findings.of_pairs(scan), *findings.of_languages(scan, both, identifier)]
        if scan.name != "train" and scans[0].name == "train":
            some += [*findings.of_overlap(scans[0], scan), *findings.of_direction(sides[0], both, scan.name)]
        if scan.name == "train" and config:
            some += findings.of_limits(scan, config)
            some += findings.of_kind(kind, config)
    some += findings.of_counts(scans, held_out=not valid)
    if identifier is None:
        advice = extra("check")
        some.append(Finding("note", "no_languages", "languages were not detected", advice=advice))
    size = None
    if config and scans and scans[0].sources and not any(scan.unreadable for scan in scans):
        size = estimate(config, config.text.source_size or config.text.size, config.text.size)
        some += findings.of_memory(size)
    some.sort(key=lambda finding: ("error", "warning", "note").index(finding.severity))
    parts = [Part(scan.name, scan.specs, scan.pairs, *both) for scan, both in zip(scans, sides, strict=True)]
    return Report(parts, some, size, kind)
