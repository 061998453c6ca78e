-- Sets the limit of a function, from now on. Leases over a lowered limit end by themselves.
-- ARGV: process, function, most leases at once that call the app (or '' for any number).
-- Returns: generation, whether the caller is to look.
if not generation then return { 'NOGEN' } end
if ARGV[3] == '' then call('HDEL', LIMITS, ARGV[2]) else call('HSET', LIMITS, ARGV[2], ARGV[3]) end
place_partition(ARGV[2])
ready = ready + call('ZCARD', RING)
return { generation, wake(ARGV[1]) }
