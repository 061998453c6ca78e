-- Leases what is due and admitted: the function served longest ago first; in it, work that does not call the app, then by rank, due time,
-- arrival. A look that finds nothing notes that the process waits.
-- ARGV: now, horizon, length of a lease, process, how many, portion of what is caught up with, how long the word
-- of a process counts.
-- Returns: generation, next time at which something changes (or ''), whether there is more to catch up with, then the leases as `hold`
-- gives them.
if not generation then return { 'NOGEN' } end
local now, horizon, length, process = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local wanted = tonumber(ARGV[5])
call('ZREM', IDLE, process)
local result = { generation, '', '0' }
-- While it is rebuilt and closed, its holders have yet to say what they hold.
local is_closed = string.sub(generation, 1, 1) == 'b'
if not is_closed then
  if catch_up(now, horizon, tonumber(ARGV[6])) then result[3] = '1' end
  local count = 0
  while count < wanted do
    local f = call('ZRANGE', RING, 0, 0)[1]
    if not f then break end
    local c = call('ZCARD', lane_key(f, '0')) > 0 and '0' or '1'
    local popped = {}
    if c == '0' or has_slot(f) then popped = call('ZPOPMIN', lane_key(f, c)) end
    if #popped == 0 then
      call('ZREM', RING, f)
    else
      local id = string.sub(popped[1], 33)
      if call('EXISTS', entry_key(id)) == 1 then
        hold(result, id, now, length, process)
        count = count + 1
        call('HSET', SERVED, f, call('HINCRBY', NUMBERS, 'served', 1))
      end
      call('ZREM', RING, f)
      place_partition(f)
    end
  end
  if call('HLEN', SERVED) > 10000 then
    call('HSET', NUMBERS, 'forgotten', number('served'))
    call('DEL', SERVED)
  end
end
-- Whoever holds something is missed when it dies, even if it has not said yet that it is there.
if #result > 3 then call('ZADD', SERVERS, 'NX', string.format('%.0f', now + tonumber(ARGV[7])), process) end
local at = next_at()
if at then result[2] = string.format('%.0f', at) end
if #result > 3 or result[3] == '1' then
  -- What is left is for others.
  ready = call('ZCARD', RING)
  wake(process)
elseif at and not is_closed and (first_score(IDLE) or math.huge) > at then
  call('ZADD', IDLE, at, process)
else
  -- Somebody else looks at that time.
  call('ZADD', IDLE, '+inf', process)
  result[2] = ''
end
return result
