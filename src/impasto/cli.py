"""The command line: one command a method, made from its settings; no logic of its own."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, Token

from impasto import __version__
from impasto.console import Console, choose_console
from impasto.errors import ImpastoError, Interrupted, UsageError
from impasto.methods import METHODS, Method
from impasto.usage import explain

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from impasto.jobs import Job

RUNTIME = {"THP_MEM_ALLOC_ENABLE": "1"}
"""What torch reads when it is first imported: large pages for large tensors. What the user has set stays."""

COMMON = Group("Options everybody needs", sort_key=0)
GROUPS = {
    name: Group(name.capitalize(), sort_key=place)
    for place, name in enumerate(
        ("picture", "style", "content", "regions", "colour", "optimisation", "output", "machine"), 1
    )
}
OUTPUT, MACHINE = GROUPS["output"], GROUPS["machine"]


@dataclass(frozen=True)
class OutputOptions:
    """Where results go. Names of fields are names of options."""

    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            group=COMMON,
            help="Where the result goes; the suffix chooses PNG, JPEG, WebP or TIFF. [default: named after the inputs]",
        ),
    ] = None
    force: Annotated[
        bool,
        Parameter(group=OUTPUT, negative=(), show_default=False, help="Overwrite what exists; otherwise numbered."),
    ] = False
    quality: Annotated[int, Parameter(group=OUTPUT, help="Of JPEG, WebP and AVIF (1 … 100).")] = 95
    bits: Annotated[
        Literal[8, 16] | None, Parameter(group=OUTPUT, help="Per channel. [default: 16 for TIFF, otherwise 8]")
    ] = None
    plot: Annotated[Path | None, Parameter(group=OUTPUT, help="Also plot the losses, as PNG, SVG or PDF.")] = None
    record: Annotated[Path | None, Parameter(group=OUTPUT, help="Also write the record, as JSON.")] = None
    preview: Annotated[
        bool, Parameter(group=OUTPUT, show_default=False, help="Whether a preview is on disk while the work goes on.")
    ] = True


@dataclass(frozen=True)
class MachineOptions:
    """Where the work runs."""

    device: Annotated[str, Parameter(group=MACHINE, help="auto, cpu, cuda, cuda:1 …, or mps.")] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Parameter(group=MACHINE, help="Of the encoder; auto is bfloat16 where the device is fast at it."),
    ] = "auto"
    threads: Annotated[int | None, Parameter(group=MACHINE, help="CPU threads (1 …). [default: all cores]")] = None
    memory: Annotated[
        str | None, Parameter(group=MACHINE, help="To work within, as 4GB; large pictures go in tiles. [default: free]")
    ] = None
    max_pixels: Annotated[int, Parameter(group=MACHINE, help="Largest input accepted, in pixels.")] = 200_000_000


@dataclass(frozen=True)
class TalkOptions:
    """What is said about the work. `main` looks for these words before anything else is known."""

    quiet: Annotated[
        bool, Parameter(group=MACHINE, negative=(), show_default=False, help="Say nothing but errors.")
    ] = False
    json: Annotated[
        bool, Parameter(group=MACHINE, negative=(), show_default=False, help="One JSON event a line, on stdout.")
    ] = False
    debug: Annotated[bool, Parameter(group=MACHINE, negative=(), show_default=False, help="Show tracebacks.")] = False


FLAT = Parameter(name="*")
Output = Annotated[OutputOptions | None, FLAT]
Machine = Annotated[MachineOptions | None, FLAT]
Talk = Annotated[TalkOptions | None, FLAT]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and exits with 0, 1 (failed), 2 (wrong use) or 130 (interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for name, value in RUNTIME.items():
        os.environ.setdefault(name, value)
    console = choose_console(quiet="--quiet" in words, events="--json" in words)
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning, module="impasto")
        warnings.showwarning = lambda message, *_, **__: console.note(str(message))
        code, message = _run(words, console)
    console.finish()
    if message:
        console.error(message)
    if code:
        sys.exit(code)


def _run(words: Sequence[str], console: Console) -> tuple[int, str]:
    """Run a command; its exit code, and what is to be said about a failure."""
    try:
        build_app(words, console)(words, exit_on_error=False, print_error=False, result_action="return_value")
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in words:
            traceback.print_exc()
        return _verdict(error)
    return 0, ""


def _verdict(error: BaseException) -> tuple[int, str]:
    if isinstance(error, CycloptsError):
        return UsageError.exit_code, explain(error)
    if isinstance(error, ImpastoError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted.exit_code, "stopped"
    if isinstance(error, BrokenPipeError):
        return 1, ""
    return 1, f"a defect of impasto: {type(error).__name__}: {error}; run it with --debug and report it"


def build_app(words: Sequence[str], console: Console) -> App:
    """The application. Only the method that is called is made in full: its settings cost a second to import."""
    app = App(
        name="impasto",
        version=__version__,
        help="Repaint photographs in the manner of paintings.\n\n"
        "impasto transfer photo.jpg painting.jpg makes photo-painting.png.",
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # `main` says what happened
    )
    app.register_install_completion_command()
    called = next((word for word in words if not word.startswith("-")), None)
    for method in METHODS.values():
        command = _method_command(method, console, _perform) if called == method.name else _stub
        app.command(command, name=method.name, help=method.summary)
    regions = _method_command(METHODS["transfer"], console, _show_regions) if called == "regions" else _stub
    app.command(regions, name="regions", help="Say and show what transfer would understand of masks and segmentations.")
    _add_record_commands(app, console)
    _add_info_command(app, console)
    return app


def _stub() -> None:
    """Stands in the list of commands for a method that is not called."""


def _method_command(
    method: Method, console: Console, act: Callable[[Job, OutputOptions, Console], None]
) -> Callable[..., None]:
    """A function whose signature holds the method's inputs, settings, and the options of output and machine."""

    def command(
        *paths: Path,
        output: OutputOptions | None = None,
        machine: MachineOptions | None = None,
        talk: TalkOptions | None = None,
        **settings: Any,
    ) -> None:
        from impasto.jobs import Job

        given = {name: value for name, value in settings.items() if value is not None}
        inputs = dict(zip(method.roles(len(paths)), paths, strict=True))
        job = Job.of(method.name, inputs, given, **_where(machine or MachineOptions()))
        act(job, output or OutputOptions(), console)

    kind = inspect.Parameter
    parameters = [
        kind(role, kind.POSITIONAL_ONLY, annotation=Annotated[Path, Parameter(help=f"The {role} picture.")])
        for role in method.inputs
    ]
    if method.several:
        more = Annotated[Path, Parameter(help=f"Further {method.inputs[-1]} pictures.", show_default=False)]
        parameters.append(kind("more", kind.VAR_POSITIONAL, annotation=more))
    parameters += [_option(name, field) for name, field in method.settings.model_fields.items()]
    shared = {"output": Output, "machine": Machine, "talk": Talk}
    parameters += [kind(name, kind.KEYWORD_ONLY, default=None, annotation=one) for name, one in shared.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """A setting as an option. Its words go to the settings as they are: those know best what is wrong with them."""
    from pydantic import SkipValidation

    extra: dict[str, Any] = field.json_schema_extra  # type: ignore[assignment]
    flag = field.annotation is bool
    default = "" if flag else _words(field.default)
    annotation = Annotated[
        Annotated[field.annotation, SkipValidation] | None,  # type: ignore[name-defined]
        Parameter(
            help=field.description,
            group=COMMON if extra["common"] else GROUPS[extra["group"]],
            show_default=bool(default) and (lambda _: default),
            converter=None if flag else _as_it_is,
            n_tokens=None if flag else 1,
            accepts_keys=False,
            negative=(),
        ),
    ]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _as_it_is(_type: Any, tokens: Sequence[Token]) -> str:
    return tokens[0].value


def _words(default: Any) -> str:
    """A default as it would be written on the command line; nothing for None."""
    if isinstance(default, dict):
        return ",".join(name if weight == 1 else f"{name}:{weight:g}" for name, weight in default.items())
    return "" if default is None else f"{default}"


def _add_record_commands(app: App, console: Console) -> None:
    @app.command
    def rerun(
        picture: Path,
        /,
        *,
        set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
        output: Output = None,
        machine: Machine = None,
        talk: Talk = None,
    ) -> None:
        """Make a result again from the record inside it, with changes if you like.

        Parameters
        ----------
        picture
            A picture that impasto made, or the .json written beside it.
        set_
            A setting or an input to change, as key=value; may be given several times.
        """
        from impasto.jobs import Job
        from impasto.records import read_record

        record = read_record(picture)
        job = Job.from_record(record, picture.parent, _changes(set_ or []), **_where(machine or MachineOptions()))
        result = picture.with_suffix(".png") if picture.suffix == ".json" else picture
        _perform(job, output or OutputOptions(), console, result)

    @app.command
    def resume(
        checkpoint: Path,
        /,
        *,
        talk: Talk = None,
    ) -> None:
        """Go on with work that was stopped, from its checkpoint.

        Parameters
        ----------
        checkpoint
            The file that Ctrl-C or a crash left behind, ending in .checkpoint.safetensors.
        """
        from impasto import jobs, session

        running, saved = jobs.resume(checkpoint, console.download)
        output = session.Output.from_json(saved, checkpoint).settled(running.job.paths.values())
        session.perform(running, output, console)


def _add_info_command(app: App, console: Console) -> None:
    @app.command
    def info(*, talk: Talk = None) -> None:
        """Versions, devices, memory, and the encoders with the places of their weights."""
        from impasto.info import facts

        console.facts(facts())


def _where(machine: MachineOptions) -> dict[str, Any]:
    return {
        "device": machine.device,
        "precision": machine.precision,
        "threads": machine.threads,
        "memory": machine.memory,
        "max_pixels": machine.max_pixels,
    }


def _perform(job: Job, options: OutputOptions, console: Console, default: Path | None = None) -> None:
    from impasto import session

    job.require_inputs()
    path = options.output or default or session.default_path(job.paths[role] for role in job.inputs)
    given = {one.name: getattr(options, one.name) for one in fields(options) if one.name != "output"}
    output = session.Output(path, **given).settled(job.paths.values())
    session.perform(job.begin(console.download), output, console)


def _show_regions(job: Job, options: OutputOptions, console: Console) -> None:
    """Print the regions of a job, and write a sheet of their masks."""
    from impasto.overview import regions_overview
    from impasto.pictures.files import read_picture, write_picture
    from impasto.session import Output

    job.require_inputs()
    content = job.paths["content"]
    path = options.output or content.with_name(f"{content.stem}.regions.png")
    output = Output(path, quality=options.quality, preview=False, force=options.force).settled(job.paths.values())
    rows, sheet = regions_overview(job)
    write_picture(read_picture(sheet), output.path, quality=output.quality)
    console.facts([*rows, ("masks", str(output.path))])


def _changes(words: Sequence[str]) -> dict[str, str]:
    """Settings from `key=value` words."""
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--set {word}: needs the form key=value, as in --set size=1024")
        changes[name.replace("-", "_")] = value
    return changes


if __name__ == "__main__":
    main()
