"""Which processes do a job, and trainings in processes of their own."""

import json
import re
import shlex
import subprocess

import pytest
import torch
from helpers.coco_shape import write_coco
from helpers.forked import Program
from helpers.tiny import (
    REPO,
    TINY,
    metrics_rows,
    train_net_process,
)
from helpers.training import FASTER, words
from torch.distributed.run import get_args_parser

from hrnet_det.engine.processes import Processes, first_host, processes_of
from hrnet_det.engine.train import build_parser
from hrnet_det.errors import InputError

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "host", "MASTER_PORT": "1",
}  # fmt: skip
SRUN = {  # the sixth of eight tasks on two nodes
    "SLURM_JOB_ID": "1234567", "SLURM_STEP_ID": "3", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "node[09-10]", "SLURM_NODELIST": "login,node[09-10]",
}  # fmt: skip
SBATCH = {name: SRUN[name] for name in SRUN if "STEP" not in name}
BOTH = "srun --ntasks-per-node"


def found(environ, *typed):
    return processes_of(build_parser().parse_args(typed), environ)


@pytest.mark.parametrize(
    ("environ", "typed", "expected"),
    [
        ({}, "", Processes()),
        ({}, "--num-gpus 4", Processes(4)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "--num-gpus 2", Processes(2)),
        (
            {"RANK": "1", "WORLD_SIZE": "2"},
            "--num-gpus 4 --num-machines 2 --machine-rank 1 --dist-url tcp://host:1",
            Processes(4, 2, 1, "tcp://host:1"),
        ),
        ({}, "--dist-url tcp://[::1]:77", Processes(url="tcp://[::1]:77")),
        (TORCHRUN, "", Processes(4, 2, 1, "env://", 5, "torchrun --nproc-per-node")),
        (TORCHRUN | SRUN, "", Processes(4, 2, 1, "env://", 5, "torchrun --nproc-per-node")),
        (
            TORCHRUN,
            "--num-gpus 4 --num-machines 2 --machine-rank 1",
            Processes(4, 2, 1, "env://", 5, "torchrun --nproc-per-node"),
        ),
        (TORCHRUN | {"TORCHELASTIC_MAX_RESTARTS": "3"}, "--resume", None),
        # job 1234567, step 3: 20000 + 12345673 % 10000
        (SRUN, "", Processes(4, 2, 1, "tcp://node09:25673", 5, BOTH)),
        (SRUN | {"MASTER_ADDR": "::2"}, "", Processes(4, 2, 1, "tcp://[::2]:25673", 5, BOTH)),
        (SRUN | {"MASTER_PORT": "99"}, "", Processes(4, 2, 1, "tcp://node09:99", 5, BOTH)),
        (
            {
                "SLURM_JOBID": "7", "SLURM_STEPID": "0", "SLURM_PROCID": "1", "SLURM_LOCALID": "1",
                "SLURM_NTASKS": "2",
            },
            "",
            Processes(2, 1, 0, "tcp://127.0.0.1:20070", 1, BOTH),
        ),
        (SBATCH, "--num-gpus 8", Processes(8)),  # the script of a job, not a step of srun
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, "--num-gpus 8", Processes(8)),
        (
            SRUN,  # srun with a task on each node, whose processes are Detectron2's
            "--num-gpus 8 --num-machines 2 --machine-rank 1 --dist-url tcp://host:1",
            Processes(8, 2, 1, "tcp://host:1"),
        ),
    ],
)  # fmt: skip
def test_processes_that_are_described(environ, typed, expected):
    processes = found(environ, *typed.split())
    assert expected is None or processes == expected
    assert processes.world == processes.local * processes.machines


MISSING = {name: TORCHRUN[name] for name in TORCHRUN if name != "MASTER_PORT"}


@pytest.mark.parametrize(
    ("environ", "typed", "message"),
    [
        ({}, "--num-gpus 0", "--num-gpus 0: give at least 1"),
        ({}, "--num-machines 0", "--num-machines 0: give at least 1"),
        ({}, "--machine-rank 1", "--machine-rank 1 with --num-machines 1: the machines are numb"),
        ({}, "--machine-rank -1", "numbered from 0 to 0"),
        ({}, "--num-machines 2", "--num-machines 2 needs --dist-url tcp://HOST:PORT, the same"),
        ({}, "--num-machines 2 --dist-url auto", "--num-machines 2 needs --dist-url"),
        ({}, "--dist-url somewhere", "--dist-url 'somewhere': give auto (on one machine), tcp://"),
        ({}, "--dist-url tcp://host", "--dist-url 'tcp://host'"),
        ({}, "--dist-url tcp://host:port", "--dist-url 'tcp://host:port'"),
        ({}, "--dist-url tcp://host:99999", "--dist-url 'tcp://host:99999'"),
        ({}, "--dist-url file:///no/such/folder/file", "--dist-url 'file:///no/such"),
        ({}, f"--dist-url file://{__file__}", "the file is there already"),
        ({}, "--dist-url env://", "--dist-url 'env://'"),
        (TORCHRUN, "--num-gpus 2", "--num-gpus 2 in a process that was started by torchrun, which "
         "says: 2 machines, 4 processes on each (torchrun --nproc-per-node 4), this machine is n"),
        (TORCHRUN, "--dist-url auto", "--dist-url auto in a process that was started by torchrun"),
        (TORCHRUN, "--num-machines 1", "--num-machines 1 in a process that was started by torchr"),
        (TORCHRUN | {"RANK": "x"}, "", "RANK is 'x': must be a number"),
        (TORCHRUN | {"RANK": "8"}, "", "torchrun has started 8 processes, 4 of them here, where r"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "3"}, "", "every machine must have as many processes"),
        (TORCHRUN | {"TORCHELASTIC_MAX_RESTARTS": "3"}, "", "--max-restarts without --resume"),
        (MISSING, "", "one of several processes, but MASTER_PORT are not set"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "", "RANK 0 and WORLD_SIZE 2 say that this is one of "
         "several processes, but LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not"),
        (SRUN, "--num-gpus 8", "--num-gpus 8 in a process that was started by srun, which says: 2"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "5,3"}, "", "SLURM_STEP_TASKS_PER_NODE 5,3: the m"),
        (SRUN | {"SLURM_LOCALID": "2"}, "", "rank 5 has the local rank 2: every machine must"),
        (SRUN | {"SLURM_JOB_ID": "", "SLURM_JOBID": "x"}, "", "SLURM_JOBID is 'x': must be a num"),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, "",
         "SLURM_LOCALID is not set, but other variables of its launcher are"),
    ],
)  # fmt: skip
def test_processes_that_cannot_be(environ, typed, message):
    with pytest.raises(InputError) as error:
        found(environ, *typed.split())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("a1,b2", "a1"),
        ("node[03-05,7]", "node03"),
        ("node[7,03-05].site", "node7.site"),
        ("rack[2-3]n[08,10-11],other", "rack2n08"),
        ("gpu-a-[1-2],gpu-b-1", "gpu-a-1"),
    ],
)
def test_the_first_host_of_a_list_of_slurm(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.slow
def test_the_quickstart_config_trains_in_two_processes(coco, tmp_path):
    arguments = words(
        coco,
        tmp_path / "output",
        *("--num-gpus=2", "--dist-url=auto", "SOLVER.IMS_PER_BATCH", 4, "SOLVER.MAX_ITER", 9),
        *("TEST.EVAL_PERIOD", 1, "SOLVER.PATIENCE", 1, "TEST.LOSS", True, "SOLVER.BASE_LR", 1e-9),
        annotations="rle.json",
        config="quickstart/mask_rcnn.yaml",
    )
    outcome = train_net_process(*arguments, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    results = json.loads((tmp_path / "output" / "results.json").read_text())
    assert set(results) == {"bbox", "segm"}
    # nothing is learned at this rate: both end after the second evaluation
    assert "Early stopping after 2 of 9 iterations" in outcome.out
    rows = metrics_rows(tmp_path / "output")
    assert [row["iteration"] for row in rows] == [0, 1] and rows[1]["loss_mask"] > 0
    assert all(row["validation_loss/total"] > 0 for row in rows)


def test_coco_is_found_and_trained_on_as_typed(tmp_path):
    write_coco(tmp_path / "sets")
    small = list(TINY)
    variant = small.index("MODEL.HRNET.VARIANT")
    del small[variant : variant + 2]  # w32, as the config says
    outcome = train_net_process(
        "--config-file", FASTER, *small, "SOLVER.MAX_ITER", 2, "SOLVER.BASE_LR", 1e-4,
        cwd=tmp_path, DETECTRON2_DATASETS=str(tmp_path / "sets"),
    )  # fmt: skip
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    output = tmp_path / "output"
    results = json.loads((output / "results.json").read_text())["bbox"]
    assert sum(name.startswith("AP-") for name in results) == 80
    assert results["AP-toothbrush"] >= 0  # category 90
    assert metrics_rows(output)[-1]["iteration"] == 1
    weights = torch.load(output / "model_final.pth", weights_only=True)["model"]
    assert weights["roi_heads.box_predictor.cls_score.weight"].shape[0] == 81
    assert weights["backbone.bottom_up.stage4.0.branches.0.0.conv1.weight"].shape[0] == 32


def test_the_commands_of_the_documentation():
    page = (REPO / "docs" / "training-on-coco.md").read_text()
    (_, one_machine, two_machines, slurm) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    described, scripts = [], []
    for block in (one_machine, two_machines):
        for line in block.replace("\\\n", "").splitlines():
            command = shlex.split(line)
            if command[0] == "torchrun":
                given = get_args_parser().parse_args(command[1:])
                assert given.training_script == "train_net.py"
                assert found(TORCHRUN, *given.training_script_args).world == 8
                scripts.append((given.nnodes, given.nproc_per_node, given.node_rank))
            else:
                assert command[:2] == ["python", "train_net.py"]
                described.append(found({}, *command[2:]))
    assert described == [Processes(8), Processes(8, 2, 0, "tcp://node0:29500")]
    assert scripts == [("1:1", "8", 0), ("2", "8", 0)]
    assert subprocess.run(["bash", "-n"], input=slurm, text=True).returncode == 0
    (line,) = re.findall(
        r"^srun python train_net.py (.*)$", slurm.replace("\\\n", ""), re.MULTILINE
    )
    assert found(SRUN, *shlex.split(line)).world == 8


def test_an_error_in_the_processes_is_one_message(coco, tmp_path):
    outcome = Program(
        *words(coco, tmp_path / "out", "--num-gpus=2", "--eval-only"), cwd=tmp_path
    ).end()
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1 and "Traceback" not in outcome.err
    assert "error: rank " in outcome.err
    assert ": --eval-only without weights would evaluate random ones" in outcome.err
