"""The whole job, from a trained model to a report. The only package that knows the order of the stages.

Each stage makes one record from earlier ones and keeps it in the run folder under the hash of its inputs. In a later
run, a stage with the same inputs is reused.
"""

from edgeprune.pipeline.device_stages import collect_into
from edgeprune.pipeline.folder import open_folder
from edgeprune.pipeline.job import Job, run_in
from edgeprune.pipeline.settings import Settings

__all__ = ["Job", "Settings", "collect_into", "open_folder", "run_in"]
