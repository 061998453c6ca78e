-- Extends a lease.
-- ARGV: now, length of a lease, id, token.
-- Returns: generation, the new end (or '' when the lease is lost).
if not generation then return { 'NOGEN' } end
local now, length, id, token = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local e = call('HMGET', entry_key(id), 'p', 't')
if e[1] ~= 'l' or e[2] ~= token then return { generation, '' } end
local expires = string.format('%.0f', now + length)
call('HSET', entry_key(id), 'x', expires)
call('ZADD', LEASED, expires, id)
return { generation, expires }
