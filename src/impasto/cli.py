"""The command line: one command a method, made from its settings; no logic of its own."""

from __future__ import annotations

import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter, Token

from impasto import __version__
from impasto.console import Console, choose_console
from impasto.errors import ImpastoError, Interrupted, UsageError
from impasto.films.command import FilmOutputOptions
from impasto.films.report_command import film_report_command
from impasto.library_commands import library_app
from impasto.map_command import maps_command
from impasto.methods import METHODS, Method
from impasto.options import COMMON, GROUPS, OUTPUT, MachineOptions, OutputOptions, TalkOptions
from impasto.usage import explain, in_typed_words, with_negative_values

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from impasto.jobs import Job, Running
    from impasto.output import Output

GRID_OPTIONS = (
    inspect.Parameter(
        "styles",
        inspect.Parameter.KEYWORD_ONLY,
        default=(),
        annotation=Annotated[
            list[Path],
            Parameter(
                group=COMMON,
                consume_multiple=True,
                negative=(),
                show_default=False,
                help="Style pictures: a.jpg b.jpg …",
            ),
        ],
    ),
)
STYLE_SET = inspect.Parameter(
    "style_set",
    inspect.Parameter.KEYWORD_ONLY,
    default=(),
    annotation=Annotated[
        list[Path],
        Parameter(group=COMMON, negative=(), show_default=False, help="Further works: a folder or a style library."),
    ],
)
EXPLAIN = inspect.Parameter(
    "explain",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        Parameter(
            group=OUTPUT,
            negative=(),
            show_default=False,
            help="Say which works take part and why, with a chart and JSON beside the result.",
        ),
    ],
)
STRIP_OPTIONS = (
    inspect.Parameter(
        "pictures",
        inspect.Parameter.KEYWORD_ONLY,
        default=5,
        annotation=Annotated[int, Parameter(group=COMMON, help="How many pictures the way has (2 …).")],
    ),
)

FLAT = Parameter(name="*")
"""Fields of a dataclass are options, without a prefix."""
OutputFlags = Annotated[OutputOptions | None, FLAT]
MachineFlags = Annotated[MachineOptions | None, FLAT]
TalkFlags = Annotated[TalkOptions | None, FLAT]


@dataclass(frozen=True)
class Call:
    """What a command was given: pictures, settings of its method, where the work runs and the results go."""

    paths: Sequence[Path]
    settings: dict[str, Any]
    where: dict[str, Any]
    output: Any
    """`OutputOptions`, or those of films."""


Act = Callable[..., None]
"""What a command does with a call, and with options of its own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and exits with 0, 1 (failed), 2 (wrong use) or 130 (interrupted)."""
    words = with_negative_values(sys.argv[1:] if arguments is None else arguments)
    console = choose_console(quiet="--quiet" in words, events="--json" in words)
    said: set[str] = set()

    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        """Each sentence once, though thousands of frames may be the cause of it."""
        if str(message) not in said:
            said.add(str(message))
            console.note(str(message))

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning, module="impasto")
        warnings.showwarning = say
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
        code, message = _verdict(error)
        return code, in_typed_words(message, words)
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
    completing = any(word.startswith("--install-completion") for word in words)
    for name, summary, make in _commands(console):
        app.command(make() if completing or called == name else _stub, name=name, help=summary)
    _add_record_commands(app, console)
    _add_info_command(app, console)
    app.command(maps_command(console), name="maps")
    app.command(film_report_command(console), name="film-report")
    app.command(library_app(console))
    return app


def _commands(console: Console) -> Iterator[tuple[str, str, Callable[[], Callable[..., None]]]]:
    """Names, summaries and makers of the commands that take a method's settings."""
    own = {"blend": partial(_blend_command, console), "film": partial(_film_command, console)}
    for method in METHODS.values():
        make = partial(_method_command, method, partial(_run_method, method, console))
        yield method.name, method.summary, own.get(method.name, make)
    transfer = METHODS["transfer"]
    yield "grid", "Paint many photographs in many manners, and a sheet of them all.", partial(_grid_command, console)
    yield (
        "strip",
        "Paint the way from one manner to another, and a sheet of it.",
        partial(_method_command, transfer, partial(_run_strip, console), STRIP_OPTIONS),
    )
    yield (
        "regions",
        "Say and show what transfer would understand of masks and segmentations.",
        partial(_method_command, transfer, partial(_show_regions, transfer, console)),
    )


def _stub() -> None:
    """Stands in the list of commands for a method that is not called."""


def _method_command(
    method: Method, act: Act, extra: Sequence[inspect.Parameter] = (), output_options: type[Any] = OutputOptions
) -> Callable[..., None]:
    """A command that takes a method's inputs and settings."""
    kind = inspect.Parameter
    positional = [
        kind(role, kind.POSITIONAL_ONLY, annotation=Annotated[Path, Parameter(help=f"The {role} picture.")])
        for role in method.inputs
    ]
    if method.moving:
        film = Annotated[Path, Parameter(help="The film: a video, an animation, or a folder of numbered frames.")]
        positional[0] = positional[0].replace(annotation=film)
    if method.several:
        more = Annotated[Path, Parameter(help=f"Further {method.inputs[-1]} pictures.", show_default=False)]
        positional.append(kind("more", kind.VAR_POSITIONAL, annotation=more))
    return _command(method, positional, extra, act, output_options)


def _grid_command(console: Console) -> Callable[..., None]:
    contents = Annotated[Path, Parameter(help="The content pictures.", show_default=False)]
    positional = [inspect.Parameter("contents", inspect.Parameter.VAR_POSITIONAL, annotation=contents)]
    return _command(METHODS["transfer"], positional, GRID_OPTIONS, partial(_run_grid, console))


def _blend_command(console: Console) -> Callable[..., None]:
    from impasto.sets import Wanted

    kind = inspect.Parameter
    content = kind("content", kind.POSITIONAL_ONLY, annotation=Annotated[Path, Parameter(help="The content picture.")])
    more = Annotated[Path, Parameter(help="Pictures, folders or style libraries.", show_default=False)]
    works = kind("works", kind.VAR_POSITIONAL, annotation=more)
    wanted = [_option(name, field) for name, field in Wanted.model_fields.items()]
    return _command(METHODS["blend"], [content, works], [STYLE_SET, *wanted, EXPLAIN], partial(_run_blend, console))


def _film_command(console: Console) -> Callable[..., None]:
    def act(call: Call) -> None:
        from impasto.films.command import run_film

        run_film(console, call.paths, call.settings, call.where, call.output)

    return _method_command(METHODS["film"], act, output_options=FilmOutputOptions)


def _command(
    method: Method,
    positional: Sequence[inspect.Parameter],
    extra: Sequence[inspect.Parameter],
    act: Act,
    output_options: type[Any] = OutputOptions,
) -> Callable[..., None]:
    """A function whose signature holds paths, `extra` options, a method's settings, and those of output and machine."""

    def command(
        *paths: Path,
        output: Any = None,
        machine: MachineOptions | None = None,
        talk: TalkOptions | None = None,
        **options: Any,
    ) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        own = {one.name: given.pop(one.name, one.default) for one in extra}
        act(Call(paths, given, asdict(machine or MachineOptions()), output or output_options()), **own)

    kind = inspect.Parameter
    parameters = [*positional, *extra]
    unseen = method.settings.unseen
    parameters += [_option(name, field, name not in unseen) for name, field in method.settings.model_fields.items()]
    shared = {"output": Annotated[output_options | None, FLAT], "machine": MachineFlags, "talk": TalkFlags}
    parameters += [kind(name, kind.KEYWORD_ONLY, default=None, annotation=one) for name, one in shared.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _option(name: str, field: FieldInfo, shown: bool = True) -> inspect.Parameter:
    """A setting as an option. Its words go to the settings as they are: those know best what is wrong with them."""
    from pydantic import SkipValidation

    extra: dict[str, Any] = field.json_schema_extra  # type: ignore[assignment]
    flag = field.annotation is bool
    default = "" if flag else _words(field.default)
    annotation = Annotated[
        Annotated[field.annotation, SkipValidation] | None,  # type: ignore[name-defined]
        Parameter(
            help=field.description,
            show=shown,
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
    """The words of an option; one that takes several may be given several times, and others are refused before."""
    return ",".join(token.value for token in tokens)


def _words(default: Any) -> str:
    """A default as it would be written on the command line; nothing for None."""
    if isinstance(default, dict):
        return ",".join(name if weight == 1 else f"{name}:{weight:g}" for name, weight in default.items())
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "" if default is None else f"{default}"


def _add_record_commands(app: App, console: Console) -> None:
    @app.command
    def rerun(
        picture: Path,
        /,
        *,
        set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
        output: OutputFlags = None,
        machine: MachineFlags = None,
        talk: TalkFlags = None,
    ) -> None:
        """Make a result again from the record inside it, with changes if you like.

        Parameters
        ----------
        picture
            A picture or film that impasto made, or the .json written beside a picture.
        set_
            A setting or an input to change, as key=value; may be given several times.
        """
        from impasto.jobs import Job
        from impasto.records import read_record

        record, changes = read_record(picture), _changes(set_ or [])
        where, options = asdict(machine or MachineOptions()), output or OutputOptions()
        if record.method == "film":
            from impasto.films.command import again

            again(console, record, picture, changes, where, options)
            return
        job = Job.from_record(record, picture.parent, changes, **where)
        result = picture.with_suffix(".png") if picture.suffix == ".json" else picture
        _perform(job, options, console, result)

    @app.command
    def resume(
        checkpoint: Path,
        /,
        *,
        talk: TalkFlags = None,
    ) -> None:
        """Go on with work that was stopped, from its checkpoint.

        Parameters
        ----------
        checkpoint
            The file that Ctrl-C or a crash left behind, ending in .checkpoint.safetensors; of a film the
            folder, ending in .unfinished; or the name of the result that there was to be.
        """
        from impasto import jobs
        from impasto.films.session import is_film_checkpoint, perform_film, resume_film
        from impasto.output import Output, unfinished_of
        from impasto.session import perform

        if not is_film_checkpoint(checkpoint):
            checkpoint = unfinished_of(checkpoint)
        if is_film_checkpoint(checkpoint):
            film, place = resume_film(checkpoint, console.download)
            perform_film(film, place, console)
            return

        running, saved = jobs.resume(checkpoint, console.download)
        output = Output.from_json(saved, checkpoint).settled(running.job.paths.values())
        perform(running, output, console)


def _add_info_command(app: App, console: Console) -> None:
    @app.command
    def info(*, talk: TalkFlags = None) -> None:
        """Versions, devices, memory, and the encoders with the places of their weights."""
        from impasto.info import facts

        console.facts(facts())


def _run_blend(console: Console, call: Call, style_set: Sequence[Path], explain: bool, **wanted: Any) -> None:
    from impasto.explanation import explain as explained
    from impasto.output import default_path
    from impasto.sets import Wanted, blend_job

    content, *works = [*call.paths, *style_set]
    given = Wanted.of(**{name: value for name, value in wanted.items() if value is not None})
    job = blend_job(content, works, call.settings, given, **call.where)
    _perform(job, call.output, console, default_path([content, *works]), explained if explain else None)


def _run_method(method: Method, console: Console, call: Call) -> None:
    from impasto.output import default_path

    _perform(_job(method, call), call.output, console, default_path(call.paths))


def _job(method: Method, call: Call) -> Job:
    from impasto.jobs import Job, inputs_of

    return Job.of(method.name, inputs_of(method, call.paths), call.settings, **call.where)


def _perform(
    job: Job,
    options: OutputOptions,
    console: Console,
    default: Path,
    before: Callable[[Running, Output, Console], None] | None = None,
) -> None:
    from impasto.session import perform

    job.require_inputs()
    running, output = job.begin(console.download), _output(options, default).settled(job.paths.values())
    if before is not None:
        before(running, output, console)
    perform(running, output, console)


def _output(options: OutputOptions, default: Path) -> Output:
    from impasto.output import Output

    given = {name: value for name, value in vars(options).items() if name != "output" and value is not None}
    return Output(options.output or default, **given)


def _run_grid(console: Console, call: Call, styles: Sequence[Path]) -> None:
    from impasto import batches
    from impasto.series import perform_all

    parts = batches.grid(call.paths, styles, call.settings, **call.where)
    sheet = _output(call.output, call.paths[0].with_name("grid.jpg"))
    perform_all(parts, sheet, len(styles), console)


def _run_strip(console: Console, call: Call, pictures: int) -> None:
    from impasto import batches
    from impasto.output import default_path
    from impasto.series import perform_all

    content, *styles = call.paths
    parts = batches.strip(content, styles, pictures, call.settings, **call.where)
    name = default_path(call.paths)
    sheet = _output(call.output, name.with_name(f"{name.stem}.strip.jpg"))
    named = [replace(part, name=f"{name.stem}-{part.name}") for part in parts]
    perform_all(named, sheet, pictures, console)


def _show_regions(method: Method, console: Console, call: Call) -> None:
    """Print the regions of a job, and write a sheet of their masks."""
    from impasto.overview import regions_overview
    from impasto.pictures.files import read_picture, write_picture

    job = _job(method, call)
    job.require_inputs()
    default = call.paths[0].with_name(f"{call.paths[0].stem}.regions.png")
    output = _output(call.output, default).settled(job.paths.values())
    rows, sheet = regions_overview(job)
    write_picture(read_picture(sheet), output.path, quality=output.quality)
    console.facts([*rows, ("sheet of masks", str(output.path))])


def _changes(words: Sequence[str]) -> dict[str, str]:
    """Settings from `key=value` words."""
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--set {word}: needs the form key=value, as in --set size=1024")
        name = name.replace("-", "_")
        if name in changes:
            raise UsageError(f"--set {word}: {name} is given twice")
        changes[name] = value
    return changes


if __name__ == "__main__":
    main()
