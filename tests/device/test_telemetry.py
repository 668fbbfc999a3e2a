"""Lines are of the shapes that boards print: see the sources named beside each."""

import pytest

from edgeprune.device.telemetry import Summary, disturbed, readings, summarise

NANO_JP4 = (
    "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) CPU [5%@1224,4%@1224,off,off] "
    "EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C PMIC@50C GPU@40C AO@45C thermal@40C "
    "POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
TX2 = (
    "RAM 1/7846MB (lfb 1x4MB) CPU [0%@345,off,off,0%@345] EMC_FREQ 4%@1600 GR3D_FREQ 0%@114 APE 150 MTS fg 1% bg 1% "
    "PLL@42.5C MCPU@42.5C PMIC@50C VDD_IN 5297/5297 VDD_SYS_CPU 1917/1917 VDD_SYS_DDR 1241/1241"
)
XAVIER_NX_JP5 = (
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397,1%@1397] "
    "EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C thermal@45.6C AO@45C GPU@45.5C PMIC@50C "
    "VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW"
)
AGX_XAVIER = (
    "RAM 1/15692MB (lfb 1x4MB) CPU [1%@1190] EMC_FREQ 0% GR3D_FREQ 0% AO@30C GPU@30.5C Tboard@31C Tdiode@32C "
    "GPU 463/463 CPU 618/618 SOC 2936/2936 CV 0/0 VDDRQ 309/309 SYS5V 3306/3306"
)
AGX_ORIN_JP6 = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@729] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 37%@[611,612] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C tj@44.343C "
    "VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW "
    "VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
ORIN_NANO_JP6 = (
    "11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) SWAP 0/3810MB (cached 0MB) CPU [15%@729] EMC_FREQ 43%@2133 "
    "GR3D_FREQ 63%@[621] NVDEC off NVJPG off VIC off OFA off APE 200 cpu@53.968C soc2@52.437C gpu@53.343C tj@53.968C "
    "VDD_IN 12479mW/12479mW VDD_CPU_GPU_CV 4667mW/4667mW VDD_SOC 2817mW/2817mW"
)
ORIN_NANO_WITHOUT_ROOT = (
    "06-18-2025 11:25:24 RAM 3452/7620MB (lfb 1x4MB) CPU [1%@1420] GR3D_FREQ 0% cpu@50.031C VDD_IN 4824mW/4824mW"
)
AGX_ORIN_JP7 = (
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x4MB) CPU [1%@1300] GR3D_FREQ 12%@[1300,1300] NVENC0 off "
    "cpu@52.968C/52.968C gpu@47.625C/48.5C VDD_GPU_SOC 5139mW/5100mW/5200mW VDD_CPU_CV 3268mW/3268mW/3268mW "
    "VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
THOR = "07-25-2026 09:08:28 RAM 1/2MB CPU [1%@1300] GR3D_FREQ @[1000,1001,1000] tj@40.5C/40.5C VIN 9000mW/9000mW/9000mW"

XAVIER_RAILS = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
ORIN_RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")


@pytest.mark.parametrize(
    ("line", "rails", "watts", "mhz", "load", "hottest"),
    [
        (NANO_JP4, ("POM_5V_IN",), 1.750, 76, 0, 45.0),
        (TX2, ("VDD_IN",), 5.297, 114, 0, 42.5),
        (XAVIER_NX_JP5, ("VDD_IN",), 2.763, 114, 0, 46.5),
        (AGX_XAVIER, XAVIER_RAILS, 7.632, None, 0, 32.0),
        (AGX_ORIN_JP6, ORIN_RAILS, 6.755, 612, 37, 44.562),
        (ORIN_NANO_JP6, ("VDD_IN",), 12.479, 621, 63, 53.968),
        (ORIN_NANO_WITHOUT_ROOT, ("VDD_IN",), 4.824, None, 0, 50.031),
        (AGX_ORIN_JP7, ORIN_RAILS, 13.907, 1300, 12, 52.968),
        (THOR, ("VIN",), 9.0, 1001, None, 40.5),
    ],
)
def test_every_board_is_read(line, rails, watts, mhz, load, hottest):
    (reading,) = readings(f"{line}\n")
    assert (reading.gpu_mhz, reading.gpu_load, max(reading.celsius.values())) == (mhz, load, hottest)
    summary = summarise(f"{line}\n", [["NO_SUCH_RAIL"], rails])
    assert summary.rails == rails
    assert summary.power_w == pytest.approx(watts)


def test_memory_unconnected_rails_and_dead_sensors_are_no_readings():
    (reading,) = readings(f"{AGX_ORIN_JP6}\n")
    assert sorted(reading.rails_w) == ["VDDQ_VDD2_1V8AO", "VDD_CPU_CV", "VDD_GPU_SOC", "VIN_SYS_5V0"]
    assert "CV0" not in reading.celsius
    (reading,) = readings(f"{NANO_JP4}\n")
    assert "PMIC" not in reading.celsius


def test_rails_that_the_board_lacks_are_no_power_of_zero():
    summary = summarise(f"{ORIN_NANO_JP6}\n", [ORIN_RAILS])
    assert (summary.rails, summary.power_w) == ((), None)
    assert summarise("", [["VDD_IN"]]) == Summary(0, (), None, None, None)


def line(load, mhz=600, mw=1000, heat=50):
    return f"GR3D_FREQ {load}%@[{mhz}] tj@{heat}C VDD_IN {mw}mW/9mW\n"


def test_only_the_time_at_work_counts_and_not_its_edges():
    start = line(0, 100, 1000) * 10
    ramp = line(90, 300, 3000)
    work = line(95, 600, 8000) * 18
    summary = summarise(start + ramp + work + ramp + start, [["VDD_IN"]])
    assert (summary.readings, summary.power_w, summary.gpu_mhz) == (16, 8.0, (600, 600))
    assert not summary.clock_moved


def test_of_two_times_at_work_the_longer_counts():
    text = line(99, mw=2000) * 3 + line(0) + line(99, mw=5000) * 4
    assert summarise(text, [["VDD_IN"]]).power_w == 5.0


def test_without_a_load_the_middle_half_counts():
    text = "VDD_IN 1mW/1mW\n" * 4 + "VDD_IN 3mW/1mW\n" * 8 + "VDD_IN 1mW/1mW\n" * 4
    summary = summarise(text, [["VDD_IN"]])
    assert (summary.readings, summary.power_w) == (8, pytest.approx(0.003))


@pytest.mark.parametrize("readings_of_work", [0, 1, 2])
def test_readings_at_the_edge_of_a_round_do_not_tell_its_clock(readings_of_work):
    loading = line(0, 306, 4000) * 8
    edge = line(98, 306, 4000) * readings_of_work  # busy by then, and the clock not yet up
    summary = summarise(loading + edge + loading, [["VDD_IN"]], on_gpu=True)
    assert summary.gpu_mhz is None
    assert summary.readings == readings_of_work
    assert (summary.power_w is None) == (readings_of_work == 0)
    usual = summarise(line(98, 1020) * 5, [["VDD_IN"]], on_gpu=True)
    assert disturbed([usual, summary, usual], 98.0) == {}


def test_one_reading_between_the_first_and_the_last_inference_tells_the_clock():
    text = line(0, 306) * 4 + line(98, 306) + line(98, 1020) + line(98, 306) + line(0, 306) * 4
    assert summarise(text, [["VDD_IN"]], on_gpu=True).gpu_mhz == (1020, 1020)


def test_power_counts_without_a_busy_gpu_where_the_model_runs_elsewhere():
    text = line(0, 306, 4000) * 4
    assert summarise(text, [["VDD_IN"]]).power_w == 4.0
    assert summarise(text, [["VDD_IN"]], on_gpu=True).power_w is None


def test_a_clock_that_moves_and_heat_are_seen():
    assert summarise(line(99, 600) * 10 + line(99, 500) * 10, []).clock_moved
    assert not summarise(line(99, 600) * 10 + line(99, 595) * 10, []).clock_moved
    assert summarise(line(99) * 5 + line(99, heat=97) + line(99) * 5, []).hottest_c == 97


def test_rounds_that_do_not_count_are_named_with_the_reason():
    usual, slower, hot = (
        summarise(line(99, mhz, heat=heat) * 10, []) for mhz, heat in ((600, 50), (500, 50), (600, 98))
    )
    moved = summarise(line(99, 600) * 5 + line(99, 500) * 5, [])
    unknown = Summary(10, (), None, None, None)
    assert disturbed([usual, slower, usual, hot, moved, unknown, usual], 98.0) == {
        1: "the GPU ran at 500 MHz, and mostly at 600 MHz",
        3: "it was 98 °C hot",
        4: "the GPU's clock went from 500 to 600 MHz",
    }
    assert disturbed([unknown], 98.0) == {}
    assert disturbed([hot], 98.5) == {}


def test_a_line_cut_off_by_the_end_does_not_count():
    cut = ORIN_NANO_JP6[: ORIN_NANO_JP6.index("VDD_IN")]
    summary = summarise(f"{ORIN_NANO_JP6}\n{ORIN_NANO_JP6}\n{cut}", [["VDD_IN"]])
    assert (summary.readings, summary.power_w) == (2, pytest.approx(12.479))
