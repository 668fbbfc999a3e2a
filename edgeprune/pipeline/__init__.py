"""The whole job: from a trained model to a report. The only package that knows the order of the stages.

Each stage makes one record from earlier ones and leaves it in the run folder under the hash of all it was made from;
run again, a stage whose inputs are the same is reused.
"""

from edgeprune.pipeline.device_stages import collect_into
from edgeprune.pipeline.folder import open_folder
from edgeprune.pipeline.job import Job, run_in
from edgeprune.pipeline.settings import Settings

__all__ = ["Job", "Settings", "collect_into", "open_folder", "run_in"]
