"""Object pools that lend interchangeable objects of any class; the fast path takes no lock.

Start at `object_pool.ObjectPool`; what it lends comes from a `factory.Factory`, as `pool_options.PoolOptions` say.
"""
