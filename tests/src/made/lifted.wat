;; An adapter that answers with what it was told: `options` is bytes, two letters from `a` to `p` each, and every answer is what lies at 1024.
(module
  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const 131072))
  (func (export "cabi_realloc") (param $old i32) (param $before i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "monocle:plugin/processor@0.2.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $options i32) (param $letters i32) (result i32)
    (local $index i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (i32.shr_u (local.get $letters) (i32.const 1))))
        (i32.store8
          (i32.add (i32.const 1024) (local.get $index))
          (i32.or
            (i32.shl
              (i32.sub (i32.load8_u (i32.add (local.get $options) (i32.shl (local.get $index) (i32.const 1)))) (i32.const 97))
              (i32.const 4))
            (i32.sub (i32.load8_u offset=1 (i32.add (local.get $options) (i32.shl (local.get $index) (i32.const 1)))) (i32.const 97))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (i32.const 0))
  (func (export "monocle:plugin/processor@0.2.0#plan")
    (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "monocle:plugin/processor@0.2.0#pixels") (param i32 i32) (result i32) (i32.const 1024))
  (func (export "monocle:plugin/processor@0.2.0#output") (param i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "monocle:plugin/processor@0.2.0#parts") (param i32 i32) (result i32) (i32.const 1024)))
