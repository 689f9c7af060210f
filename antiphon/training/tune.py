"""Hyperparameter search: trainings with other values of some options, proposed by Optuna, judged on development pairs.

A study is a folder: `study.log` (Optuna's journal of all trials), `data` (the pairs, prepared once), `trials/0000` and
so on (each trial's best model), `best.toml` (the best options so far).
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from antiphon.config import loading, sections
from antiphon.config.sections import Config
from antiphon.data.prepare import prepare
from antiphon.errors import UserError, extra
from antiphon.evaluation import metrics
from antiphon.files import told, whole_folder, write
from antiphon.progress import Reporter
from antiphon.training import warm_start
from antiphon.training.folder import data_folder
from antiphon.training.loop import train
from antiphon.words import counted

JOURNAL, BEST = "study.log", "best.toml"
STUDY = "antiphon"
CONTINUES = "continues"  # attribute of a trial that resumes one that was stopped: that one's folder

Load = Callable[[Sequence[str], bool], Config]


@dataclass(frozen=True)
class Axis:
    """An option and its possible values: some, or all between two."""

    name: str  # section.key
    values: tuple[Any, ...]  # the choices, or the two ends
    choice: bool
    whole: bool = False
    log: bool = False

    def suggest(self, trial: Any) -> Any:
        """A value for Optuna's next trial."""
        if self.choice:
            return trial.suggest_categorical(self.name, self.values)
        low, high = self.values
        suggest = trial.suggest_int if self.whole else trial.suggest_float
        return suggest(self.name, low, high, log=self.log)


def axis(text: str) -> Axis:
    """Read `section.key=low..high` or `section.key=a,b,c`.

    Raises:
        UserError: it is neither, or a value is not one of the option.
    """
    name, _, values = text.partition("=")
    low, dots, high = values.partition("..")
    parts = [low, high] if dots else values.split(",")
    if len(parts) < 2 or "" in parts:
        raise UserError(f"--vary {text}: write section.key= and a range, such as 1e-4..1e-2, or values, such as a,b")
    settings = [loading.setting(f"{name}={part}", f"--vary {text}") for part in parts]
    (section, key, _), options = settings[0], [value for *_, value in settings]
    if (section, key) in (("train", "metric"), ("train", "start")):
        raise UserError(
            f"--vary {text}: trials with other values of {section}.{key} cannot be compared; set it with --set"
        )
    if not dots:
        return Axis(f"{section}.{key}", tuple(options), True)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in options)
    if not numbers or options[0] >= options[1]:
        raise UserError(f"--vary {text}: a range goes from a number to a larger one; write values as a,b,c")
    whole = sections.SECTIONS[section].model_fields[key].annotation is int
    return Axis(f"{section}.{key}", tuple(options), False, whole, 0 < 10 * options[0] <= options[1])


def tune(load: Load, vary: Sequence[str], trials: int, out: Path, command: str, reporter: Reporter) -> Iterator[str]:
    """Train with other options until there are so many trials, or resume a study that was stopped.

    Args:
        load: the configuration with some `section.key=value` over all others, and with or without a trial's own limit.
        vary: what is varied; see `axis`.
        trials: trainings in all, those of earlier calls counted.
        out: the study's folder.
        command: the command that does this, for the models' cards.
        reporter: where progress goes.

    Returns:
        A line for each trial when it ends, and at last the best.

    Raises:
        UserError: Optuna is not installed, bad data or options, a folder of something else, or no trial that succeeded.
    """
    axes = [axis(text) for text in vary]
    for one in axes:
        if sum(other.name == one.name for other in axes) > 1:
            raise UserError(f"--vary {one.name} is given twice: name all its values at once")
    base = load((), True)
    study = open_study(base, axes, out)
    prepare(out / "data", base, reporter.show, warm_start.kept(base))
    reporter.close()
    _requeue(study)
    while trials_ended(study) < trials:
        yield _trial(study, load, axes, out, command, reporter)
    best = _best(study)
    if best is None:
        raise UserError(f"none of {counted(trials, 'trial')} has ended with a score; the lines above say why")
    value = f"{base.train.metric} {best.value:.2f}"
    yield f"best: trial {best.number}, {value}, {_shown(best.params)}; options in {out / BEST}"


def open_study(base: Config, axes: Sequence[Axis], out: Path) -> Any:
    """Optuna's study in a folder, new or resumed.

    Raises:
        UserError: Optuna is not installed, or the folder holds something else.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ModuleNotFoundError as e:
        raise UserError(f"a hyperparameter search needs Optuna: {extra('tune')}") from e
    journal = out / JOURNAL
    if out.exists() and not journal.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty and holds no study to resume; name another folder")
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(journal), JournalFileOpenLock(str(journal)))
    higher = metrics.METRICS[base.train.metric].higher_is_better
    study = optuna.create_study(
        storage=JournalStorage(backend),
        study_name=STUDY,
        direction="maximize" if higher else "minimize",
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )
    study.sampler = optuna.samplers.TPESampler(seed=base.train.seed + len(study.trials))
    made = json.loads(json.dumps({"config": base.model_dump(), "vary": [repr(one) for one in axes]}))
    known = study.user_attrs.get("made", made)
    if known != made:
        raise UserError(f"{out} holds a study of other options or ranges; name another folder, or delete this one")
    study.set_user_attr("made", made)
    return study


def _requeue(study: Any) -> None:
    """Let the trial that a stopped command left be the next, so that its training is resumed."""
    import optuna

    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        folder = trial.user_attrs.get(CONTINUES, _name(trial.number))
        reported = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params, {CONTINUES: folder, "reported": reported})


def trials_ended(study: Any) -> int:
    """Trials that have ended; one that was stopped and resumed counts once."""
    ended = sum(trial.state.is_finished() for trial in study.trials)
    return int(ended - sum(CONTINUES in trial.user_attrs for trial in study.trials))


def _trial(study: Any, load: Load, axes: Sequence[Axis], out: Path, command: str, reporter: Reporter) -> str:
    """One training, and the line that reports it."""
    from optuna.trial import TrialState

    trial = study.ask()
    values = {one.name: one.suggest(trial) for one in axes}
    folder = out / "trials" / trial.user_attrs.get(CONTINUES, _name(trial.number))
    sets = [f"{name}={_toml(value)}" for name, value in values.items()]
    reported: list[float] = []

    def watch(score: float) -> str:
        reported.append(score)
        trial.report(score, len(reported))
        return "pruned: worse than the median of the trials before" if trial.should_prune() else ""

    for score in trial.user_attrs.get("reported", ()):
        watch(score)
    try:
        share = partial(_share_data, out / "data", folder, axes)
        outcome = train(load(sets, True), folder, command, reporter.without_messages(), watch, share)
    except UserError as e:
        study.tell(trial, state=TrialState.FAIL)
        shutil.rmtree(folder, ignore_errors=True)
        return f"trial {trial.number}\tfailed\t{_shown(values)}\t{e}"
    if outcome.best is None:
        study.tell(trial, state=TrialState.FAIL)
        return f"trial {trial.number}\tno score\t{_shown(values)}"
    pruned = outcome.reason.startswith("pruned")
    study.tell(trial, None if pruned else outcome.best, TrialState.PRUNED if pruned else TrialState.COMPLETE)
    shutil.rmtree(folder / "run", ignore_errors=True)  # the model stays
    best = _best(study)
    if best is not None and best.number == trial.number:
        write(out / BEST, loading.to_toml(load(sets, False)))
    return f"trial {trial.number}\t{outcome.metric} {outcome.best:.2f}{' (pruned)' if pruned else ''}\t{_shown(values)}"


def _share_data(data: Path, folder: Path, axes: Sequence[Axis], config: Config) -> Config:
    """Give a trial the prepared pairs, where they do not depend on what is varied."""
    own = data_folder(folder)
    if not own.exists() and not any(one.name.startswith(("data.", "text.", "train.seed")) for one in axes):
        with whole_folder(own) as unfinished:
            shutil.copytree(data, unfinished, dirs_exist_ok=True)
    return config


def _best(study: Any) -> Any:
    """The trial with the best score; None: no trial has ended with one."""
    try:
        return study.best_trial
    except ValueError:
        return None


def _name(number: int) -> str:
    return f"{number:04d}"


def _toml(value: Any) -> str:
    return json.dumps(value)  # the same in TOML for words, numbers and truth values


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
                     for name, value in values.items())  # fmt: skip
