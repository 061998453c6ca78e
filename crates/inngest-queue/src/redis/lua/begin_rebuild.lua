-- Begins to rebuild a schedule that is lost. What is left of the old one, if only the generation was lost, goes.
-- ARGV: process and what tells this rebuild from its others, first token (higher than any given out before), now, how long the word
-- counts by which the builder is there (another one's word may come before its next).
-- Returns: generation, 1 when the caller builds, 0 when there is nothing to build or somebody else does.
if generation then return { generation, 0 } end
local function drop_entries(key, from)
  for _, name in ipairs(call('ZRANGE', key, 0, -1)) do call('UNLINK', entry_key(string.sub(name, from))) end
end
drop_entries(DELAYED, 1)
drop_entries(LEASED, 1)
for _, f in ipairs(call('SMEMBERS', PARTS)) do
  for _, c in ipairs({ '0', '1' }) do
    drop_entries(lane_key(f, c), 33)
    call('DEL', lane_key(f, c), holders_key(f, c))
  end
end
for _, key in ipairs({ DELAYED, LEASED, RING, SERVED, PARTS, HERE, NUMBERS }) do call('DEL', key) end
call('ZADD', SERVERS, string.format('%.0f', tonumber(ARGV[3]) + tonumber(ARGV[4])), string.sub(ARGV[1], 1, 32))
generation = 'b' .. ARGV[1]
call('SET', KEYS[1], generation)
call('HSET', NUMBERS, 'token', ARGV[2])
return { generation, 1 }
