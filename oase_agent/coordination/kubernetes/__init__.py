"""Coordination by Leases of Kubernetes: no second system, and no client library (durability study 5.4).

    <base>-m-<slot>      a member: taken by a replica when it joins, renewed as long as it lives
    <base>-c-<setting>   a claim: written only when the setting changes hands; its transitions are the epoch

`lease.py` says what a Lease looks like, `api.py` asks the API server, `membership.py` renews our own member Lease,
`cluster.py` keeps what is known of all Leases, `coordinator.py` takes and releases settings.
"""
