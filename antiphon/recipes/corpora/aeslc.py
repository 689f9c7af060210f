"""AESLC: the body of an e-mail to its subject line (Zhang and Tetreault 2019); github.com/ryanzhumich/AESLC.

CC BY-NC-SA 4.0; real e-mail of Enron. The corpus has one file for each e-mail; `pack` writes one file for each set.
E-mails of the development and test sets have four subjects: the one sent, and three by annotators.
"""

import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from antiphon.recipes import fetch
from antiphon.recipes.corpora import rouge, rows

MARK = re.compile(r"^@(subject|ann\d)\n", re.MULTILINE)  # what follows the body in a file

MEASURES = rouge.measures("sent", first=True) | rouge.measures("any")  # against the subject sent; any of the four


def pack(archive: Path, folder: str, out: Path) -> None:
    """Write the e-mails of one folder of the official archive as JSON lines, in the order of their names.

    Args:
        archive: a .tar of the official repository, compressed or not.
        folder: of a set, as in the archive.
        out: the file to write, with the fields id, body, subject, and where there are annotations ann0 to ann2.

    Raises:
        KeyError: the archive has no such folder, or no e-mails in it.
    """
    with tarfile.open(archive) as tar:
        texts = {}
        for member in tar:
            place = PurePosixPath(member.name)
            if str(place.parent) == folder and place.suffix == ".subject" and (file := tar.extractfile(member)):
                texts[place.stem] = file.read().decode("utf-8")
    if not texts:
        raise KeyError(folder)
    rows.write(out, (_email(name, texts[name]) for name in sorted(texts)))


def _email(name: str, text: str) -> dict[str, str]:
    body, *parts = MARK.split(text)
    return {"id": name, "body": body.strip()} | {
        mark: part.strip() for mark, part in zip(parts[::2], parts[1::2], strict=True)
    }


def prepare(files: Mapping[str, Path], out: Path, *, words: int) -> None:
    """Write each set as pairs of the beginning of a body and its subjects, the one sent first.

    Args:
        files: train.jsonl, dev.jsonl and test.jsonl as `pack` writes them.
        out: the folder to write into.
        words: number of words of a body to keep.
    """
    for name, path in files.items():
        emails = [json.loads(line) for line in fetch.lines(path)]
        pairs = (
            {"source": " ".join(email["body"].split()[:words]), "target": [t for t in _subjects(email) if t]}
            for email in emails
        )
        rows.write(out / f"{Path(name).stem}.pairs.jsonl", pairs)


def _subjects(email: Mapping[str, str]) -> list[str]:
    return [" ".join(value.split()) for key, value in email.items() if key == "subject" or key.startswith("ann")]
