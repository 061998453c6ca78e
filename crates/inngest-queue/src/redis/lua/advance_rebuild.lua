-- Opens a schedule that is being rebuilt, declares it whole, or gives the rebuild up: it is lost again, and anybody may begin.
-- ARGV: the generation without its first letter, the new first letter (o or w), = to leave it, or nothing to give the rebuild up; then,
-- perhaps, how many entries were added so far and how many there were to add.
-- Returns: generation, 1 when it is still the one that the caller builds; that it is lost, when it was given up.
if not generation then return { 'NOGEN' } end
if string.sub(generation, 2) ~= ARGV[1] or string.sub(generation, 1, 1) == 'w' then return { generation, 0 } end
if ARGV[2] == '' then
  call('DEL', KEYS[1])
  return { 'NOGEN' }
end
if ARGV[3] then call('HSET', NUMBERS, 'added', ARGV[3], 'to_add', ARGV[4]) end
if ARGV[2] ~= '=' then
  generation = ARGV[2] .. ARGV[1]
  call('SET', KEYS[1], generation)
  ready = call('ZCARD', IDLE)
  wake('')
end
return { generation, 1 }
