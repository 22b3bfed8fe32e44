"""Do the intervals and sentences of a report hold as often as they say, in experiments whose truth is known?

    python -m tests.benchmarks.calibration                    all sections, some minutes on one core
    python -m tests.benchmarks.calibration --only stopping    one section; the others of CALIBRATION.md stay
    pip install baycomp rliable statsmodels autorank          before --only rivals, in an environment of their own

Each repetition draws a whole experiment. All repetitions of a setting are drawn and judged at once as numpy arrays
(repetitions, arms, seeds, images); `crossed.check` holds the arrays' formulas to the ones of the reports.
"""
