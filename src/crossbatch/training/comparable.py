"""The options of each arm of a comparison, and the checks before anything is written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from crossbatch.errors import RunError, SettingError
from crossbatch.training.settings import Settings

WITHOUT, WITH = "without memory", "with memory"


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Replace fields of the settings, given by group as plain values; a given loss gets no recommended options."""
    groups = {name: replace(getattr(settings, name), **fields) for name, fields in options.items()}
    return replace(settings, **groups, recommended=settings.recommended and "loss" not in options)


def _refuse_unknown(settings: Settings, own: Any) -> None:
    groups = [field.name for field in fields(settings) if is_dataclass(getattr(settings, field.name))]
    fits = isinstance(own, Mapping) and all(
        group in groups and isinstance(options, Mapping) for group, options in own.items()
    )
    if not fits:
        raise SettingError(
            f"--arms takes options of each arm by their group, as {{{WITH}: {{optim: {{lr: 0.001}}}}}}, got {own}: "
            f"groups are {', '.join(groups)}"
        )


def own_of_arms(settings: Settings, arms: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options that each arm has of its own, and return them."""
    try:
        for own in arms.values():
            _refuse_unknown(settings, own)
            Settings.from_dict(with_options(settings, own).as_dict())
    except (AttributeError, TypeError, RunError) as error:
        raise SettingError(f"--arms are options as crossbatch tune writes them: {error}") from error
    if arms and set(arms) != {WITHOUT, WITH}:
        raise SettingError(f"--arms are {WITHOUT!r} and {WITH!r}, as crossbatch tune writes them, got {list(arms)}")
    return dict(arms)


def kept_options(settings: Settings, own: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a comparison as its folder keeps them: those of the settings, and those of each arm alone."""
    return settings.as_dict() | ({"arms": dict(own)} if own else {})


def refuse_beside(own: Mapping[str, Any], settings: Settings, learning_rates: Sequence[float]) -> None:
    """Refuse learning rates and options that have no effect, since each arm has its own."""
    if own and learning_rates:
        raise SettingError("--arms hold a learning rate for each arm: leave --learning_rates out")
    defaults, given = asdict(Settings()), asdict(settings)
    for name in dict.fromkeys(f"{group}.{field}" for arm in own.values() for group in arm for field in arm[group]):
        group, field = name.split(".")
        of_arms = [arm[group][field] for arm in own.values() if field in arm.get(group, {})]
        if given[group][field] not in (defaults[group][field], *of_arms):
            raise SettingError(
                f"--arms hold {name} of each arm, so {name} {given[group][field]} beside them has no effect: "
                "leave it out, or edit the file"
            )


def check(settings: Settings, seeds: int, ks: Sequence[int]) -> None:
    """Refuse settings that cannot be compared, before anything is written."""
    refuse_processes(settings, "compare")
    if settings.loop.patience:
        raise SettingError(
            f"compare gives both arms equal steps, and --loop.patience {settings.loop.patience} would end some early: "
            "leave it out"
        )
    if settings.memory.size == 0:
        raise SettingError("compare needs a memory to compare with: leave --memory.size out, or set it above 0")
    refuse_late_memory(settings)
    if ks:
        from crossbatch.metrics.retrieval import refuse_ks  # noqa: PLC0415  (imports torch)

        refuse_ks(ks)
    if seeds < 1:
        raise SettingError(f"--seeds must be at least 1, got {seeds}")


def check_rates(settings: Settings, learning_rates: Sequence[float]) -> None:
    """Refuse learning rates that cannot be searched."""
    if len(learning_rates) > 1 and settings.split.validation_share == 0:
        raise SettingError("a search over learning rates needs validation classes: raise --split.validation_share")
    if not all(0 < rate < math.inf for rate in learning_rates):
        raise SettingError(f"--learning_rates are numbers above 0, as [0.0003,0.001], got {list(learning_rates)}")
    for rate in learning_rates:
        replace(settings, optim=replace(settings.optim, lr=rate)).check()


def refuse_processes(settings: Settings, command: str) -> None:
    """Refuse several processes for a command that runs in one."""
    if settings.loop.devices not in (None, 1):
        raise SettingError(f"crossbatch {command} runs in one process: leave --loop.devices out")


def refuse_late_memory(settings: Settings) -> None:
    """Refuse a memory that would start after the last step: both arms would be the same."""
    if settings.memory.start is not None and settings.memory.start >= settings.optim.steps:
        raise SettingError(
            f"the memory would never count: --memory.start {settings.memory.start} must be below "
            f"--optim.steps {settings.optim.steps}"
        )
