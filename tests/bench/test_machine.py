import json
import os
import platform

import pytest

from edgeprune.bench import machine


def write(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_facts_of_this_machine_are_plain_and_none_is_empty():
    facts = machine.facts({"name": "some-runtime"})
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert all(value not in (None, "") for value in facts.values())
    assert facts["runtime"] == {"name": "some-runtime"}
    assert facts["cores"] == os.cpu_count()
    assert facts["python"] == platform.python_version()
    assert facts["ram_bytes"] > 1 << 27


def test_a_virtual_machine_with_two_governors(tmp_path):
    write(
        tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor\n"
    )
    write(tmp_path, ".dockerenv", "")
    for core, governor in enumerate(("powersave", "performance", "powersave")):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", governor + "\n")
    facts = machine.facts({}, tmp_path)
    assert facts["cpu"] == "AMD EPYC"
    assert facts["governor"] == "performance, powersave"
    assert facts["virtualisation"] == "container in virtual machine"
    assert "board" not in facts


def test_a_board_without_a_name_for_its_processor(tmp_path):
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 108.00\n")
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    facts = machine.facts({}, tmp_path)
    assert facts["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts["cpu"] in (platform.processor(), platform.machine())
    assert not {"governor", "virtualisation"} & facts.keys()


@pytest.mark.parametrize(("quota", "cores"), [("50000 100000", 0.5), ("max 100000", None), ("", None)])
def test_quota_of_the_control_group_limits_the_cores(tmp_path, quota, cores):
    unlimited = machine.facts({}, tmp_path)["usable_cores"]
    write(tmp_path, "sys/fs/cgroup/cpu.max", quota)
    assert machine.facts({}, tmp_path)["usable_cores"] == (cores or unlimited)


def test_cores_others_kept_busy_leave_out_this_process():
    before = machine.CpuTime(clock_s=100, busy_s=1000, stolen_s=5, own_s=20, cores=2)
    after = machine.CpuTime(clock_s=110, busy_s=1015.02, stolen_s=6.02, own_s=30, cores=2)
    # 15.02 s busy, 10 s of it this process, 0.02 s within the resolution: 5 s in 10 s
    assert machine.busy_cores(before, after) == pytest.approx((0.5, 0.1))


def test_cores_of_others_are_never_negative():
    before = machine.CpuTime(clock_s=0, busy_s=0, stolen_s=0, own_s=0, cores=4)
    after = machine.CpuTime(clock_s=1, busy_s=0.99, stolen_s=0, own_s=1, cores=4)
    assert machine.busy_cores(before, after) == (0, 0)


def test_cpu_time_moves_with_work_of_this_process():
    before = machine.cpu_time()
    sum(range(2_000_000))
    after = machine.cpu_time()
    assert after.own_s > before.own_s
    assert after.clock_s > before.clock_s
    assert after.busy_s >= before.busy_s
