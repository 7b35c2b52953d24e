# SPDX-License-Identifier: Apache-2.0
"""Values and gradients of the first samples of every record, in one process: what the debug modes are tried on."""

import pathlib
import sys
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ops import harness


def main():
    failed = []
    for rec in harness.load_records().values():
        try:
            for sample in rec.make_samples()[:2]:
                harness.check_value(rec, sample)
                if rec.grad and sample.grad:
                    harness.check_gradient(rec, sample)
        except Exception:  # reported below, with all others
            failed.append(rec.name)
            traceback.print_exc()
    print(f"{len(harness.RECORDS)} records, {len(failed)} failed: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
