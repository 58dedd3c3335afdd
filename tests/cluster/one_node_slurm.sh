#!/usr/bin/env bash
# A SLURM of one node on this machine, for tests: no systemd, no cgroups, no database, nothing outside of one folder.
#
#   one_node_slurm.sh up FOLDER      start it; then `export SLURM_CONF=FOLDER/slurm.conf`, and sbatch, squeue, ... talk to it
#   one_node_slurm.sh down FOLDER    cancel all jobs and stop the daemons; the folder, with their logs, stays
#
# Needs root (slurmd starts jobs as their owners) and, from Debian: slurmctld slurmd slurm-client munge.
set -euo pipefail

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[[ $# -eq 2 && ( $1 == up || $1 == down ) ]] || usage
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

free_ports() {  # two that nobody listens on
    python3 - <<'PYTHON'
import socket
taken = [socket.socket() for _ in range(2)]
for one in taken:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in taken))
PYTHON
}

configure() {
    local node controller_port node_port
    node=$(hostname -s)
    read -r controller_port node_port < <(free_ports)
    mkdir -p "$folder"/{state,spool}
    (umask 077 && head -c 128 /dev/urandom > "$folder/munge.key")
    cat > "$SLURM_CONF" <<CONF
ClusterName=one_node
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# Nothing of the machine but its processes: no cgroups, no accounts, no mail.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
# Cores and memory are handed out to jobs, as on a cluster; jobs begin and end at once.
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
}

up() {
    local program
    [[ $EUID -eq 0 ]] || { echo "one_node_slurm.sh: slurmd needs root" >&2; exit 1; }
    for program in munged slurmctld slurmd sinfo; do
        [[ -n $(type -P "$program") ]] || { echo "one_node_slurm.sh: $program is not installed" >&2; exit 1; }
    done
    configure
    # --force: the folder may be one that only root may enter, and then only root may speak.
    munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" 2>> "$folder/munged.log"
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 100); do
        [[ $(sinfo --noheader --format=%T 2> /dev/null) == idle ]] && return
        sleep 0.2
    done
    echo "one_node_slurm.sh: the node does not come up; look into $folder/*.log" >&2
    down
    exit 1
}

runs() {  # in a container without an init, a process that has ended may wait for good to be buried
    [[ -e /proc/$1 ]] && ! grep -q '^State:.Z' "/proc/$1/status" 2> /dev/null
}

stop() {  # the daemon of a pid file, and wait until it has left
    local pid
    [[ -s $folder/$1.pid ]] || return 0
    pid=$(< "$folder/$1.pid")
    kill "$pid" 2> /dev/null || return 0
    for _ in $(seq 100); do
        runs "$pid" || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2> /dev/null || true
}

down() {
    scancel --state=PENDING 2> /dev/null || true
    scancel --state=RUNNING 2> /dev/null || true
    for _ in $(seq 100); do
        [[ -z $(squeue --noheader 2> /dev/null) ]] && break
        sleep 0.1
    done
    stop slurmd
    stop slurmctld
    stop munged
}

"$1"
