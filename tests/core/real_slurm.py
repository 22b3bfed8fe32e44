"""What does Slurm itself do? One node on this machine, with a partition whose jobs preempt those of the other."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.core import processes

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
CONF = """
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
JobRequeue=1
MinJobAge=120
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=10
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why no Slurm can be started here, or None."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"no {', '.join(missing)} (Debian: slurmctld, slurmd, slurm-client, munge)"
    return None if os.geteuid() == 0 else "slurmd starts jobs as root only"


class RealSlurm:
    """Starts munge, controller and node in a folder, and takes them down again."""

    def __init__(self, folder: Path):
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        self.folder, host = folder, socket.gethostname()
        self.conf = folder / "slurm.conf"
        self.conf.write_text(CONF.format(host=host, folder=folder, ports=[_free_port(), _free_port()]))
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        self.environment["PATH"] += ":/usr/sbin:/sbin"
        self.mark = f"SLURM_CONF={self.conf}"
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("pid-file", "log-file", "seed-file")]
        socket_option = f"--socket={folder}/munge.socket"
        self.processes = [
            self._start("munged", "--foreground", "--force", socket_option, f"--key-file={key}", *munge),
        ]
        self._until(lambda: (folder / "munge.socket").exists())
        self.processes += [
            self._start("slurmctld", "-D", "-f", str(self.conf)),
            self._start("slurmd", "-D", "-f", str(self.conf), "-N", host),
        ]
        self._until(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T"))

    def run(self, *words: str) -> str:
        """What a command prints; nothing where it fails."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def submit_high(self, seconds: float) -> None:
        """A job for which others are preempted."""
        command = ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", f"--wrap=sleep {seconds}"]
        subprocess.run(command, env=self.environment, capture_output=True, check=True)

    def start_now(self) -> None:
        """Let go of requeued jobs, which Slurm holds back for two minutes; here nobody has so much time."""
        for line in self.run("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i %j").splitlines():
            job, name = line.split()
            if name.startswith("ablate-"):
                self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        time.sleep(0.5)

    def close(self) -> None:
        self.run("scancel", "--user=root")
        deadline = time.monotonic() + 10
        while self.run("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        processes.end(self.mark)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{words[0]}.out", "wb") as log:
            return subprocess.Popen(words, env=self.environment, stdout=log, stderr=log)

    def _until(self, holds) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            if time.monotonic() > deadline:
                said = "\n".join(path.read_text(errors="replace")[-500:] for path in sorted(self.folder.glob("*.out")))
                self.close()
                raise RuntimeError(f"Slurm did not start: {said}")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
