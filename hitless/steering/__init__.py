"""Which instance should serve new work: the data plane contract as pure code.

    steering = ServiceSteering(settings(fabric, "detect"))
    outcome = steering.report(now_us, member, report)   # a node told how it is
    events = steering.tick(now_us)                      # time has passed
    outcome = steering.request(now_us)                  # a piece of new work wants a place

Moves of the host and evictions come back as events, with the ranks that decided. `policies` and `settings`
say what a service's table entries mean, in both directions. The program's own numbers are in `hitless.words`.
"""
