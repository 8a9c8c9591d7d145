"""Motion in films: optical flow, warping, where both can be trusted, and where a shot ends."""

from impasto.motion.cache import CachedFlow
from impasto.motion.consistency import consistency
from impasto.motion.cuts import Cuts, is_cut, parse_cuts, read_cuts
from impasto.motion.external import FlowFiles, flow_files
from impasto.motion.flo import read_flo, write_flo
from impasto.motion.flow import Dis, Farneback, FlowEstimator, Flows, both_ways
from impasto.motion.measures import colour_drift, endpoint_error, warping_error
from impasto.motion.warping import inside, resized_flow, warp

__all__ = [
    "CachedFlow",
    "Cuts",
    "Dis",
    "Farneback",
    "FlowEstimator",
    "FlowFiles",
    "Flows",
    "both_ways",
    "colour_drift",
    "consistency",
    "endpoint_error",
    "flow_files",
    "inside",
    "is_cut",
    "parse_cuts",
    "read_cuts",
    "read_flo",
    "resized_flow",
    "warp",
    "warping_error",
    "write_flo",
]
