-- Prelude of every script.
--
-- KEYS[1] is the key of the generation. Its name without the last three letters begins the name of every other key, so that all of
-- them are in one slot of a cluster:
--
--   gen        the generation: w whole, b being rebuilt and closed, o being rebuilt and open; then the 32 letters of who made it, and
--              32 that tell this one from its others
--   e:<id>     an entry (hash): its row in e epoch, f function, c whether it calls the app, r rank, d due, w the other fields of fixed
--              length, y the others (short fields keep the hash small); s arrival, a not before, p place (d delayed, w waiting in its
--              lane, l leased); leased ones t token, x end, o process; lo lost, cr crashes; and what takes its place when the lease
--              ends: af r nothing, af n the row in ne nf nc nr nd nw ny
--   delayed    ids by the time at which they may be leased
--   leased     ids by the end of their lease
--   q:<f> i:<f>  lanes of a function: work that calls the app, and work that does not; by rank, then due time and arrival
--   h:<f> g:<f>  ids leased from these lanes: the slots of the function are the members of h
--   ring       functions with an open lane, by when they were served last; served: the same for all functions
--   limits     most members of h, by function
--   parts      functions with entries, or with entries some time ago
--   o:<p>      ids leased by a process
--   idle       processes that wait, by the time at which they look by themselves
--   servers    processes by when they count as dead; here: those that know the present generation
--   n          numbers: entries, seq, token, served, expired, crashes, forgotten; added and to_add tell how far a rebuild is
--   b:<p>      when the bucket of a principal is full again, in microseconds (`charge`); no part of the schedule, ends by itself
local base = string.sub(KEYS[1], 1, -4)
local call = redis.call
local generation = call('GET', KEYS[1])

local DELAYED, LEASED, RING = base .. 'delayed', base .. 'leased', base .. 'ring'
local SERVED, LIMITS, PARTS = base .. 'served', base .. 'limits', base .. 'parts'
local IDLE, SERVERS, HERE, NUMBERS = base .. 'idle', base .. 'servers', base .. 'here', base .. 'n'

-- How many things became ready.
local ready = 0

local function entry_key(id) return base .. 'e:' .. id end
local function lane_key(f, c) return base .. (c == '1' and 'q:' or 'i:') .. f end
local function holders_key(f, c) return base .. (c == '1' and 'h:' or 'g:') .. f end
local function owned_key(process) return base .. 'o:' .. process end
local function number(name) return tonumber(call('HGET', NUMBERS, name) or 0) end
local function member(due, seq, id) return string.format('%016.0f%016.0f', due, seq) .. id end

local function has_slot(f)
  local limit = call('HGET', LIMITS, f)
  return not limit or call('SCARD', holders_key(f, '1')) < tonumber(limit)
end

-- Puts a function into the ring or takes it out, after its lanes or its slots changed.
local function place_partition(f)
  local is_open = call('ZCARD', lane_key(f, '0')) > 0
    or (call('ZCARD', lane_key(f, '1')) > 0 and has_slot(f))
  if not is_open then
    call('ZREM', RING, f)
  elseif call('ZADD', RING, 'NX', call('HGET', SERVED, f) or number('forgotten'), f) == 1 then
    ready = ready + 1
  end
end

local function wait_in_lane(id, f, c, rank, due, seq)
  call('ZADD', lane_key(f, c), rank, member(due, seq, id))
  call('HSET', entry_key(id), 'p', 'w')
  call('SADD', PARTS, f)
  ready = ready + 1
  place_partition(f)
end

-- Puts an entry that is nowhere to its place.
local function place(id, now)
  local e = call('HMGET', entry_key(id), 'a', 'f', 'c', 'r', 'd', 's')
  local at = tonumber(e[1])
  if at > now then
    call('ZADD', DELAYED, at, id)
    call('HSET', entry_key(id), 'p', 'd')
  else
    wait_in_lane(id, e[2], e[3], e[4], tonumber(e[5]), tonumber(e[6]))
  end
end

-- Adds an entry that is nowhere yet. A row is a table of id, e, f, c, r, d, w, y.
local function link(row, lost)
  local seq = call('HINCRBY', NUMBERS, 'seq', 1)
  call('HINCRBY', NUMBERS, 'entries', 1)
  call('HSET', entry_key(row.id), 'e', row.e, 'f', row.f, 'c', row.c, 'r', row.r, 'd', row.d, 'w', row.w, 'y', row.y, 's', seq, 'a', row.d)
  if lost then call('HSET', entry_key(row.id), 'lo', '1') end
end

local function insert(row, now, lost)
  link(row, lost)
  place(row.id, now)
end

local function forget(id)
  if call('DEL', entry_key(id)) == 1 then call('HINCRBY', NUMBERS, 'entries', -1) end
end

-- Removes an entry; a leased one when its lease ends.
local function remove(id)
  local e = call('HMGET', entry_key(id), 'p', 'f', 'c', 'd', 's')
  if not e[1] then return end
  if e[1] == 'l' then
    call('HSET', entry_key(id), 'af', 'r')
    return
  end
  if e[1] == 'd' then
    call('ZREM', DELAYED, id)
  else
    call('ZREM', lane_key(e[2], e[3]), member(tonumber(e[4]), tonumber(e[5]), id))
    place_partition(e[2])
  end
  forget(id)
end

-- Adds a row, unless it is known. Returns a(dded), r(eplaced), k(nown), b(eyond the horizon) or f(ull).
local function offer(row, now, horizon, max)
  local key = entry_key(row.id)
  local old = call('HMGET', key, 'e', 'p', 'af', 'ne', 'lo')
  local is_beyond = tonumber(row.d) > now + horizon
  if old[1] then
    local current = tonumber(old[1])
    if old[2] == 'l' and old[3] == 'r' then
      current = nil
    elseif old[2] == 'l' and old[3] == 'n' then
      current = tonumber(old[4])
    end
    if current and current >= tonumber(row.e) then return 'k' end
    if is_beyond then
      remove(row.id)
      return 'b'
    end
    if old[2] == 'l' then
      call('HSET', key, 'af', 'n', 'ne', row.e, 'nf', row.f, 'nc', row.c, 'nr', row.r, 'nd', row.d, 'nw', row.w, 'ny', row.y)
      return 'r'
    end
    remove(row.id)
    insert(row, now, old[5])
    return 'r'
  end
  if is_beyond then return 'b' end
  local timers_are_full = tonumber(row.d) > now and call('ZCARD', DELAYED) >= max - math.floor(max / 4)
  if number('entries') >= max or timers_are_full then return 'f' end
  insert(row, now)
  return 'a'
end

-- Reads a row from ARGV, from `at` on: id, epoch, function, calls the app, rank, due, fixed, other. Returns it and what comes after it.
local function read_row(at)
  return {
    id = ARGV[at], e = ARGV[at + 1], f = ARGV[at + 2], c = ARGV[at + 3], r = ARGV[at + 4], d = ARGV[at + 5], w = ARGV[at + 6],
    y = ARGV[at + 7],
  }, at + 8
end

-- Leases an entry that is nowhere. Adds to `result` id, epoch, function, rank, due, fixed, other, token, end, lost, crashes.
local function hold(result, id, now, length, process)
  local key = entry_key(id)
  local e = call('HMGET', key, 'e', 'f', 'r', 'd', 'w', 'y', 'c', 'lo', 'cr')
  local token = string.format('%.0f', call('HINCRBY', NUMBERS, 'token', 1))
  local expires = string.format('%.0f', now + length)
  call('HSET', key, 'p', 'l', 't', token, 'x', expires, 'o', process)
  call('HDEL', key, 'af')
  call('ZADD', LEASED, expires, id)
  call('SADD', holders_key(e[2], e[7]), id)
  call('SADD', PARTS, e[2])
  call('SADD', owned_key(process), id)
  local n = #result
  result[n + 1], result[n + 2], result[n + 3], result[n + 4], result[n + 5] = id, e[1], e[2], e[3], e[4]
  result[n + 6], result[n + 7], result[n + 8], result[n + 9] = e[5], e[6], token, expires
  result[n + 10], result[n + 11] = e[8] or '0', e[9] or '0'
end

-- Frees the slot of a leased entry, which is nowhere then.
local function take_back(id)
  local e = call('HMGET', entry_key(id), 'f', 'c', 'o')
  call('ZREM', LEASED, id)
  call('SREM', holders_key(e[1], e[2]), id)
  call('SREM', owned_key(e[3]), id)
  place_partition(e[1])
end

-- What becomes of an entry whose lease has ended. `fate` is forget, keep, or replace with `row`, a newer epoch by its holder's word.
-- Returns whether what replaces it lies beyond the horizon.
local function apply(id, fate, row, now, horizon)
  local key = entry_key(id)
  local e = call('HMGET', key, 'af', 'ne', 'nw', 'nf', 'nc', 'nr', 'nd', 'lo', 'ny')
  local lost = false
  if e[1] == 'r' then
    fate = 'forget'
  elseif e[1] == 'n' and not (fate == 'replace' and tonumber(row.e) > tonumber(e[2])) then
    -- A holder that vanished may know this epoch too, so that only a holder's own word ends `lost`.
    fate, lost = 'replace', e[8]
    row = { id = id, e = e[2], w = e[3], f = e[4], c = e[5], r = e[6], d = e[7], y = e[9] }
  end
  if fate == 'keep' then
    place(id, now)
    return false
  end
  forget(id)
  if fate == 'forget' then return false end
  if tonumber(row.d) > now + horizon then return true end
  insert(row, now, lost)
  return false
end

-- Moves what became due, and what was leased too long, to where it can be leased; a portion of it. Returns whether there is more.
local function catch_up(now, horizon, portion)
  local ended = call('ZRANGEBYSCORE', LEASED, '-inf', string.format('%.0f', now), 'LIMIT', 0, portion)
  for _, id in ipairs(ended) do
    if call('EXISTS', entry_key(id)) == 1 then
      take_back(id)
      call('HINCRBY', NUMBERS, 'expired', 1)
      call('HSET', entry_key(id), 'lo', '1')
      apply(id, 'keep', nil, now, horizon)
    else
      call('ZREM', LEASED, id)
    end
  end
  local due = call('ZRANGEBYSCORE', DELAYED, '-inf', string.format('%.0f', now), 'LIMIT', 0, portion)
  for _, id in ipairs(due) do
    call('ZREM', DELAYED, id)
    if call('EXISTS', entry_key(id)) == 1 then place(id, now) end
  end
  return #ended == portion or #due == portion
end

local function first_score(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- The next time at which something changes by itself.
local function next_at()
  local due, ending = first_score(DELAYED), first_score(LEASED)
  if due and ending then return math.min(due, ending) end
  return due or ending
end

-- Wakes as many waiting processes as there is something for, the caller's own first; and one, if all that wait would sleep beyond the
-- next time at which something changes. Returns whether the caller's process is to look.
local function wake(process)
  local own = false
  if ready > 0 and call('ZREM', IDLE, process) == 1 then
    own = true
    ready = ready - 1
  end
  while ready > 0 do
    local popped = call('ZPOPMAX', IDLE)
    if #popped == 0 then break end
    call('PUBLISH', base .. 'wake:' .. popped[1], '')
    ready = ready - 1
  end
  local first = call('ZRANGE', IDLE, 0, 0, 'WITHSCORES')
  local at = first[1] and next_at()
  if at and at < tonumber(first[2]) then
    call('ZREM', IDLE, first[1])
    if first[1] == process then
      own = true
    else
      call('PUBLISH', base .. 'wake:' .. first[1], '')
    end
  end
  return own and '1' or '0'
end
