"""The command line: `tapeloom [-c FILE] VERB`.

::

    main        the group of verbs, and from an exception to words and an exit status
    endings     what is said of an exception, and where a bug's traceback goes
    screen      sentences, lists, JSON, sizes and times, on a terminal and elsewhere
    tables      tables, which never cut a value short
    setting_up  init, config
    planning    plan
    keys        key
    backing_up  backup; `progress` shows it while it runs, `outcome` when it is over
    listing     objects, volumes, jobs
    finding     files, find
    reading     restore, cat; `restoring` says what will be and was restored, `moments` reads times
    verifying   verify; `comparing` with the source, `blockbar` shows how far it is
    trying      demo, bench

Modules import click and the standard library when they are loaded; what a verb needs it imports when it runs.
"""
