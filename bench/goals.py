"""The figures, and what each is to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_most` or `at_least` where there is a goal; neither: a figure to look at beside the others."""

    text: str
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def wanted(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def met(self, value: float) -> bool | None:
        if self.at_most is not None:
            return value <= self.at_most
        return value >= self.at_least if self.at_least is not None else None


GOALS: dict[str, Goal] = {
    "kernel_1": Goal("kernel alone, 1 buffer: a block from producer to device", "ns", at_most=1000),
    "kernel_1000": Goal("kernel alone, 1000 buffers", "ns", at_most=1000),
    **{
        f"paced_{drives}_{key}": goal
        for drives in (1, 4, 8)
        for key, goal in {
            "rate": Goal(f"{drives} x 400 MB/s: reached by the slowest drive", "MB/s"),
            "cpu": Goal(f"{drives} x 400 MB/s: CPU s per GB", "s"),
            "writes": Goal(f"{drives} x 400 MB/s: device calls a block", at_most=1),
            "wakes": Goal(f"{drives} x 400 MB/s: wake-ups a block", at_most=1),
            "calls": Goal(f"{drives} x 400 MB/s: system calls a block, all"),
        }.items()
    },
    "stops_ratio": Goal("a drive fed too slowly, in bursts: stops with gathering : without", at_most=0.5),
    "stops": Goal("the same, stops a second"),
    "stops_plainly": Goal("without gathering, stops a second"),
    "engine_rate": Goal("8 cached files → 1 null drive, rate : plain read + CRC32C", at_least=0.9),
    "engine_cpu": Goal("the same, CPU a byte : plain"),
    "engine_gbs": Goal("the same, absolute", "GB/s"),
    "plain_gbs": Goal("plain read + CRC32C, absolute", "GB/s"),
    "mirrors_null": Goal("two more mirror stages on null drives: CPU : without", at_most=1.05),
    "mirrors_null_threads": Goal("the same, by the CPU time of the mirrors' own threads"),
    "mirrors_tape": Goal("a mirror stage on an O_DIRECT virtual tape: its CPU : plain O_DIRECT writer", at_most=1.1),
    "mirrors_tape_cpu": Goal("a mirror stage on an O_DIRECT virtual tape: CPU s per GB", "s"),
    "writer_cpu": Goal("plain O_DIRECT writer: CPU s per GB", "s"),
    "backup_rate": Goal("backup, archive and catalog included: rate : engine alone", at_least=0.7),
    "backup_cpu": Goal("the same, CPU a byte : engine alone"),
    "backup_gbs": Goal("the same, absolute", "GB/s"),
    "backup_cpu_gb": Goal("the same, CPU s per GB", "s"),
    "digest_rate": Goal("backup with SHA-256 of each object: rate : engine alone"),
    "digest_cpu": Goal("the same, CPU a byte : engine alone"),
    "digest_gbs": Goal("the same, absolute", "GB/s"),
    "digest_cpu_gb": Goal("the same, CPU s per GB", "s"),
    "mbuffer_1_gbs": Goal("beside it: mbuffer, one output", "GB/s"),
    "mbuffer_1_cpu_gb": Goal("mbuffer, one output: CPU s per GB", "s"),
    "mbuffer_3_gbs": Goal("beside it: mbuffer, three outputs", "GB/s"),
    "mbuffer_3_cpu_gb": Goal("mbuffer, three outputs: CPU s per GB", "s"),
    "tar_gbs": Goal("beside it: GNU tar", "GB/s"),
    "tar_cpu_gb": Goal("GNU tar: CPU s per GB", "s"),
    "tape_rate": Goal("8 streams → 1 O_DIRECT virtual tape: rate : plain O_DIRECT writer", at_least=0.9),
    "writer_gbs": Goal("plain O_DIRECT writer, absolute", "GB/s"),
    "tape_gbs": Goal("the same, absolute", "GB/s"),
    "restore_bytes": Goal("restoring one of 8 interleaved objects: bytes read : the object's", at_most=1.2),
    **{
        f"copy_{objects}_{targets}_{key}": goal
        for objects, what in {1: "one of 8 interleaved objects", 8: "all 8"}.items()
        for targets, where in {1: "one virtual tape", 2: "two"}.items()
        for key, goal in {
            "rate": Goal(f"copying {what} to {where}: rate : the same reads and writes, plainly", at_least=0.9),
            "rate_checked": Goal("the same : with CRC32C of each block"),
            "moving": Goal("the same, without what comes before and after: rate : plainly"),
            "cpu": Goal("the same, CPU a byte : plain loop", at_most=1.3),
            "cpu_checked": Goal("the same : plain loop with CRC32C of each block", at_most=1.3),
            "cpu_moving": Goal("the same, without what comes before and after"),
            "gbs": Goal("the same, absolute", "GB/s"),
            "plain_gbs": Goal("reads and writes, plainly, absolute", "GB/s"),
            "cpu_gb": Goal("copying: CPU s per GB", "s"),
        }.items()
    },
    "copy_memory": Goal("memory of copying all 8 to two beside the plan's sum", "MiB", at_most=80),
    "consolidate_rate": Goal("consolidating 2 GB with ten increments of 1 %: rate : copying the chain", at_least=0.7),
    "consolidate_cpu": Goal("the same, CPU a byte : copying"),
    "consolidate_gbs": Goal("the same, absolute", "GB/s"),
    "consolidate_copy_gbs": Goal("copying the chain, absolute", "GB/s"),
    "curve_bytes": Goal("one of 8 streams in runs of 16 blocks, LTO-9 at 1 : 32: bytes read : the object's"),
    "curve_seconds": Goal("the same, by the drive's timing: seconds : those of an object that lies alone"),
    "start_up": Goal("`tapeloom backup` of one tiny file: the whole process", "s", at_most=0.25),
    "start_up_memory": Goal("the same, peak memory", "MiB"),
    "small_full": Goal("100,000 files of 4 KiB, full, onto a virtual tape: speed : GNU tar to a file", at_least=1.5),
    "small_full_seconds": Goal("the same, absolute", "s"),
    "small_full_tar": Goal("GNU tar", "s"),
    "small_memory": Goal("the same, peak memory of ours", "MiB", at_most=300),
    "small_restore": Goal("restore of them: speed : tar x", at_least=1),
    "small_restore_seconds": Goal("the same, absolute", "s"),
    "small_restore_tar": Goal("tar x", "s"),
    "small_restore_cpu": Goal("the same, CPU time : tar x"),
    "small_restore_in_memory": Goal("the same in a file system in memory: speed : tar x"),
    "small_restore_in_memory_cpu": Goal("the same, CPU time : tar x"),
    "increment": Goal("increment over 300,000 unchanged files: time : tar --listed-incremental", at_most=0.6),
    "increment_floor": Goal("the same: time : bare readdir and stat on two threads"),
    "increment_seconds": Goal("the same, absolute", "s"),
    "increment_tar": Goal("tar --listed-incremental", "s"),
    "increment_bare": Goal("bare readdir and stat on two threads", "s"),
    "increment_memory": Goal("the same, peak memory of ours", "MiB", at_most=300),
    "many_memory": Goal("a full of the 300,000, peak memory", "MiB", at_most=300),
    "increment_1": Goal("increment with 1 % of the 100,000 changed: time : tar --listed-incremental"),
    "index_rate": Goal("file index of 10,000,000 rows made: rows a second", at_least=500_000),
    "index_bytes": Goal("the same: bytes a row", at_most=40),
    "index_find": Goal("one path found among them", "ms", at_most=100),
    "index_versions": Goal("its versions over 100 such objects", "ms", at_most=1000),
    **{
        key: goal
        for name, what in {
            "sha256": "SHA-256 of the sequence",
            "blake3": "BLAKE3 of the sequence",
            "zstd": "zstd of what can be made smaller",
            "zstd_random": "zstd of what cannot",
            "sealed": "AES-256-GCM",
            "zstd_sealed": "zstd, then AES-256-GCM",
        }.items()
        for key, goal in {
            f"coding_{name}": Goal(f"backup with {what}: rate : without"),
            f"coding_{name}_cpu": Goal("the same, CPU s per GB more", "s"),
        }.items()
    },
    "memory": Goal("memory of a backup beside the plan's sum", "MiB", at_most=80),
}
