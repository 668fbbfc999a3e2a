"""TensorRT and TensorRT-RTX by their Python packages, with common code: parse, build, and run on a GPU."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from edgeprune.errors import ConfigError, DeviceError, ModelError
from edgeprune.files.store import file_sha256
from edgeprune.files.whole import replacing
from edgeprune.network.cards import Card, cards
from edgeprune.protocols import NullProgress, Progress
from edgeprune.records.device_run import BuiltEngine
from edgeprune.runtimes._tensorrt.builder import (
    add_profile,
    capability_of,
    check_header,
    log_of,
    monitor_of,
    parser_error,
    read_timing_cache,
    refused,
)
from edgeprune.targets import Target

if TYPE_CHECKING:
    from edgeprune.runtimes._tensorrt.session import TensorRtSession

Name = Literal["tensorrt", "tensorrt-rtx"]
LARGEST_BATCH = 256
_WORDS = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
_ALWAYS_TYPED_FROM = 11


class TensorRt:
    """Parser and builder based on one of NVIDIA's two packages.

    Args:
        name: Name of the package.
    """

    mode = "execute_async_v3, GPU time between CUDA events, without copies"

    def __init__(self, name: Name) -> None:
        self.name = name

    def facts(self) -> dict[str, Any]:
        """Version of the package; 'not installed' without it."""
        try:
            version = str(self._library().__version__)
        except ConfigError:
            version = "not installed"
        return {"name": self.name, "version": version}

    def parse(self, model: Path) -> str:
        """Read a model with NVIDIA's parser alone.

        Returns:
            Name and version of the parser.

        Raises:
            ConfigError: The package is not installed.
            ModelError: The parser cannot read the model; the message names the node.
            DeviceError: TensorRT requires a GPU, and there is none.
        """
        library = self._library()
        log = log_of(library)
        self._parsed(library, self._builder(library, log), model, log)
        return f"{_WORDS[self.name]} {library.__version__}"

    def require(self, target: Target) -> Any:
        """Check, before long work, that an engine for a target can be built here.

        Returns:
            The package that builds it.

        Raises:
            ConfigError: The package is not installed or of another version, or does not support the target's GPU.
            DeviceError: The engine is for this machine's GPU, and there is none, or the package refuses it.
        """
        library = self._library()
        self._check_version(library, target)
        if target.compute_capability is not None:
            capability_of(library, target)
            return library
        here = cards()
        if not here and self.name == "tensorrt-rtx":
            raise DeviceError(
                f"{target.name} is for this machine's GPU, and PyTorch sees none here",
                "Name its compute_capability in the target, as in '8.9'",
            )
        if here:
            self._check_card(library, here[0])
        return library

    def refusal(self, card: Card) -> str | None:
        """Reason why the package does not run on a card, in one line; None if it does, as far as it tells.

        Raises:
            ConfigError: The package is not installed.
        """
        return refused(self.name, self._library(), card)

    def _check_card(self, library: Any, card: Card) -> None:
        reason = refused(self.name, library, card)
        if reason is not None:
            raise DeviceError(reason, "Choose a target of another runtime, or another GPU")

    def build(
        self,
        model: Path,
        target: Target,
        out: Path,
        progress: Progress,
        timing_cache: Path | None = None,
        largest_batch: int = LARGEST_BATCH,
    ) -> BuiltEngine:
        """Build an engine; the file appears whole or not at all.

        Args:
            model: ONNX file, typed for the precision.
            target: Target with the compute capability, or none for this machine's GPU.
            out: The engine to write.
            progress: Notified of the phases.
            timing_cache: File of measured tactics, read and written; not used by TensorRT-RTX, which measures none.
            largest_batch: Largest batch, if the model leaves it open.

        Raises:
            ConfigError: The package is not installed or of another version, or does not support the target's GPU.
            ModelError: The model cannot be parsed or built.
            DeviceError: TensorRT requires a GPU, and there is none.
        """
        library = self.require(target)
        log = log_of(library)
        builder = self._builder(library, log)
        network, parser = self._parsed(library, builder, model, log)
        config = builder.create_builder_config()
        config.clear_flag(library.BuilderFlag.TF32)  # float32 with all its digits
        batches = add_profile(builder, config, network, largest_batch, model)
        if target.compute_capability is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(capability_of(library, target), 0)
        cache = None if self.name == "tensorrt-rtx" else read_timing_cache(config, timing_cache, progress)
        began = time.perf_counter()
        with monitor_of(library, progress, f"build {model.name}") as monitor:
            config.progress_monitor = monitor
            serialised = builder.build_serialized_network(network, config)
        del parser
        if serialised is None:
            raise ModelError(f"{_WORDS[self.name]} cannot build {model.name}: {log.reason()}", "See it with `verbose`")
        content = bytes(serialised)
        check_header(content, self.name, str(library.__version__))
        with replacing(out) as file:
            file.write(content)
        if cache is not None and timing_cache is not None:
            with replacing(timing_cache) as file:
                file.write(bytes(cache.serialize()))
        return BuiltEngine(
            path=out.name,
            sha256=file_sha256(out),
            size_bytes=len(content),
            model_sha256=file_sha256(model),
            runtime=self.name,
            version=str(library.__version__),
            compute_capability=target.compute_capability,
            batches=batches,
            layers=network.num_layers,
            build_s=time.perf_counter() - began,
        )

    @contextmanager
    def open(self, model: Path, threads: int) -> Iterator["TensorRtSession"]:
        """Build an engine for this machine's GPU and load it.

        Args:
            model: ONNX file.
            threads: Not used: the model runs on a GPU.

        Raises:
            DeviceError: This machine has no usable GPU.
            ModelError: The model cannot be parsed or built.
        """
        from edgeprune.runtimes._tensorrt.session import TensorRtSession

        del threads
        here = cards()
        if not here:
            raise DeviceError(
                f"{_WORDS[self.name]} runs engines on an NVIDIA GPU, and PyTorch sees none here",
                "Build the engine with: edgeprune build; run it on a machine with that GPU",
            )
        self._check_card(self._library(), here[0])
        anything = Target(
            name="here", description="This machine's GPU", runtime=self.name, opset=18, precisions=("fp32",)
        )
        with TemporaryDirectory() as folder:
            engine = Path(folder) / "model.engine"
            built = self.build(model, anything, engine, NullProgress())
            library = self._library()
            log = log_of(library)
            loaded = library.Runtime(log).deserialize_cuda_engine(engine.read_bytes())
        if loaded is None:
            raise DeviceError(f"{_WORDS[self.name]} cannot load the engine of {model.name}: {log.reason()}")
        session = TensorRtSession(loaded, model, built.batches)
        try:
            yield session
        finally:
            session.close()

    def _library(self) -> Any:
        """Import the package.

        Raises:
            ConfigError: It is not installed, or does not load.
        """
        try:
            if self.name == "tensorrt":
                import tensorrt as library
            else:
                import tensorrt_rtx as library
        except (ImportError, OSError) as error:
            raise ConfigError(
                f"{_WORDS[self.name]} is not installed: {error}", f"pip install 'edgeprune[{self.name}]'"
            ) from error
        return library

    def _check_version(self, library: Any, target: Target) -> None:
        allowed, version = target.tensorrt, str(library.__version__)
        if allowed is not None and not allowed.holds(version):
            raise ConfigError(
                f"{_WORDS[self.name]} {version} is installed",
                f"{target.name} takes {allowed.lowest} to below {allowed.below}",
            )

    def _builder(self, library: Any, log: Any) -> Any:
        try:
            return library.Builder(log)
        except (TypeError, RuntimeError) as error:  # what pybind makes of a builder that could not be made
            raise DeviceError(
                f"{_WORDS[self.name]} cannot start: {log.reason() or error}", "It asks for an NVIDIA GPU and its driver"
            ) from error

    def _parsed(self, library: Any, builder: Any, model: Path, log: Any) -> tuple[Any, Any]:
        """Parse the network; returned with the parser, which owns its weights."""
        if not model.is_file():
            raise ConfigError(f"no such file: {model}")
        typed = self.name == "tensorrt" and int(str(library.__version__).split(".")[0]) < _ALWAYS_TYPED_FROM
        flags = 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if typed else 0
        network = builder.create_network(flags)
        parser = library.OnnxParser(network, log)
        if not parser.parse_from_file(str(model)):
            said = parser_error(parser.get_error(0)) if parser.num_errors else log.reason()
            raise ModelError(
                f"{_WORDS[self.name]} {library.__version__} cannot read {model.name}: {said}",
                "Use an older opset, or a network without this operator",
            )
        return network, parser


def parse_if_installed(model: Path) -> str | None:
    """Read a model with one of NVIDIA's parsers, if one that works on this machine is installed.

    Returns:
        Name and version of the parser, or None if there is none.

    Raises:
        ModelError: The parser cannot read the model; the message names the node.
    """
    for name in ("tensorrt-rtx", "tensorrt"):
        with suppress(ConfigError, DeviceError):
            return TensorRt(name).parse(model)
    return None


runtime = TensorRt("tensorrt")
