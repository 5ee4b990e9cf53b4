"""What is run: grids, bandits, language models, checks. Everything here writes results.

study
    One configuration and what it makes: a grid, a bandit study, a language-model study, pools.
cell
    One (law, m, N) of a table of results; it has a row for each estimator.
status
    Why a row of a cell has no meaningful error: "undefined" (the estimator does not exist at this
    m and N), "saturated" (the exact gradient is all but 0), "infinite" (no finite second moment).
arm
    One estimator with its options, among those that a study compares.
scenario
    Everything but the arm in a study that trains: arms are compared within a scenario.
job
    The unit of work: one file, a pure function of the configuration, kept by `core.store`. In a
    grid it is a block of groups, in a bandit study an arm trained in a scenario.
law_family, law_parameters
    Columns that identify a law: its class, and its constructor's arguments as JSON.
"""
