"""What a job will do, before it does it: chains, slots, memory, threads, and what will limit it.

`make` takes a configuration and the schedule compiled of it; `to_text` prints the plan within 100 columns, `to_json`
gives it as data with the same names as the records.
"""

from __future__ import annotations

from tapeloom.plan.make import make, trees
from tapeloom.plan.records import AgentPlan, Chain, MemoryItem, Plan, PoolPlan, Prediction, SpoolPlan, Stage, Thread
from tapeloom.plan.text import COLUMNS, to_json, to_text

__all__ = [
    "COLUMNS",
    "AgentPlan",
    "Chain",
    "MemoryItem",
    "Plan",
    "PoolPlan",
    "Prediction",
    "SpoolPlan",
    "Stage",
    "Thread",
    "make",
    "to_json",
    "to_text",
    "trees",
]
