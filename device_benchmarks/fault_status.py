"""explain_fault: what a board tells of a fault, in words."""

from __future__ import annotations

from device_benchmarks.firmware import FirmwareImage
from device_benchmarks.serial_protocol import Fault

ARM_KINDS = {2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault", 7: "SecureFault"}
ARM_STATUS = {  # bits of CFSR
    0: "no instruction may be fetched there", 1: "no data access is allowed there", 3: "unstacking", 4: "stacking",
    8: "instruction bus error", 9: "data bus error", 10: "data bus error, somewhat earlier", 11: "unstacking bus error",
    12: "stacking bus error", 16: "undefined instruction", 17: "invalid state", 18: "invalid return", 19: "no such coprocessor",
    20: "stack overflow", 24: "unaligned access", 25: "division by zero",
}  # fmt: skip
RISCV_KINDS = {
    0: "instruction address misaligned", 1: "instruction access fault", 2: "illegal instruction", 3: "breakpoint",
    4: "load address misaligned", 5: "load access fault", 6: "store address misaligned", 7: "store access fault",
    11: "environment call",
}  # fmt: skip


def explain_fault(image: FirmwareImage, fault: Fault) -> str:
    """Kind, function and status of a fault, such as "HardFault at 0x000002c6 in gnn_linear_s8+0x24 (data bus error)"."""
    if image.target.board.startup == "riscv32":
        words = f"{RISCV_KINDS.get(fault.kind, f'trap {fault.kind}')}"
        details = [f"mtval 0x{fault.status:08x}"]
    else:
        words = ARM_KINDS.get(fault.kind, f"exception {fault.kind}")
        details = [text for bit, text in ARM_STATUS.items() if fault.status >> bit & 1]
        details.append(f"CFSR 0x{fault.status:08x}" if fault.status else "this processor tells no cause")
    place, caller = image.elf.place(fault.address), image.elf.place(fault.return_address)
    return f"{image.model} on {image.target.name}: {words} at {place} ({', '.join(details)}); the link register is {caller}."
