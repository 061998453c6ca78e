-- Says that a process lives, and finds those that do not: what they hold ends now, and each is told to one caller.
-- ARGV: now, how long the word counts, process, 1 for a farewell.
-- Returns: generation (or '' when it is missing), number of the dead, then the dead, then the living.
local now, ttl, process = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local function release(dead)
  for _, id in ipairs(call('SMEMBERS', owned_key(dead))) do
    if call('ZSCORE', LEASED, id) then call('ZADD', LEASED, string.format('%.0f', now), id) end
  end
  call('ZREM', SERVERS, dead)
  call('ZREM', IDLE, dead)
  call('SREM', HERE, dead)
  call('DEL', owned_key(dead))
end
if ARGV[4] == '1' then
  release(process)
else
  call('ZADD', SERVERS, string.format('%.0f', now + ttl), process)
end
local dead = call('ZRANGEBYSCORE', SERVERS, '-inf', string.format('%.0f', now))
for _, gone in ipairs(dead) do release(gone) end
-- A rebuild whose builder died begins anew.
if generation and string.sub(generation, 1, 1) ~= 'w' and not call('ZSCORE', SERVERS, string.sub(generation, 2, 33)) then
  call('DEL', KEYS[1])
  generation = false
end
if #dead > 0 or ARGV[4] == '1' then
  ready = 1
  wake(process)
end
local result = { generation or '', #dead }
for _, gone in ipairs(dead) do result[#result + 1] = gone end
for _, living in ipairs(call('ZRANGE', SERVERS, 0, -1)) do result[#result + 1] = living end
return result
