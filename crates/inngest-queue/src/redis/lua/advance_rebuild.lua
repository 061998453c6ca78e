-- Opens a schedule that is being rebuilt, or declares it whole.
-- ARGV: the generation without its first letter, the new first letter (o or w).
-- Returns: generation, 1 when it is still the one that the caller builds.
if not generation then return { 'NOGEN' } end
if string.sub(generation, 2) ~= ARGV[1] or string.sub(generation, 1, 1) == 'w' then return { generation, 0 } end
generation = ARGV[2] .. ARGV[1]
call('SET', KEYS[1], generation)
ready = call('ZCARD', IDLE)
wake('')
return { generation, 1 }
