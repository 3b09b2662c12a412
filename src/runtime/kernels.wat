;; The host's numeric kernels: SIMD loops over float32 arrays given as byte offsets into one imported memory.
;;
;; Compiled by scripts/build-kernels.ts into kernels.wasm.ts. Offsets need 4-byte alignment (64 is best), lengths count
;; elements, and loops count down, because the end of a 4 GiB memory is not an i32. Every loop runs four lanes at a time
;; and then its tail one by one with the same operations in the same order, so that an element's result does not depend
;; on where in an array it stands. Nothing is checked here: memory.ts does that.
(module
  (import "host" "memory" (memory 1 65536))

  ;; AdamW with decoupled weight decay (arXiv 1711.05101, algorithm 2), in place; g is read only.
  ;;   g' = gradScale g,  m += (1 - beta1)(g' - m),  v += (1 - beta2)(g'^2 - v)
  ;;   p -= lr decay p + (lr / correction1) m / (sqrt(v) / sqrt(correction2) + eps)
  ;; Factors are formed in f64 and rounded once; 1 - lr decay is avoided because f32 would round most of it away.
  (func (export "adamw")
    (param $p i32) (param $g i32) (param $m i32) (param $v i32) (param $n i32)
    (param $lr f64) (param $beta1 f64) (param $beta2 f64) (param $eps f64) (param $decay f64)
    (param $correction1 f64) (param $correction2 f64) (param $gradScale f64)
    (local $a1 f32) (local $a2 f32) (local $rate f32) (local $shrink f32) (local $root f32) (local $e f32) (local $s f32)
    (local $A1 v128) (local $A2 v128) (local $RATE v128) (local $SHRINK v128) (local $ROOT v128) (local $E v128) (local $S v128)
    (local $pi f32) (local $gi f32) (local $mi f32) (local $vi f32)
    (local $P v128) (local $G v128) (local $M v128) (local $V v128)
    (local.set $a1 (f32.demote_f64 (f64.sub (f64.const 1) (local.get $beta1))))
    (local.set $a2 (f32.demote_f64 (f64.sub (f64.const 1) (local.get $beta2))))
    (local.set $rate (f32.demote_f64 (f64.div (local.get $lr) (local.get $correction1))))
    (local.set $shrink (f32.demote_f64 (f64.mul (local.get $lr) (local.get $decay))))
    (local.set $root (f32.demote_f64 (f64.div (f64.const 1) (f64.sqrt (local.get $correction2)))))
    (local.set $e (f32.demote_f64 (local.get $eps)))
    (local.set $s (f32.demote_f64 (local.get $gradScale)))
    (local.set $A1 (f32x4.splat (local.get $a1)))
    (local.set $A2 (f32x4.splat (local.get $a2)))
    (local.set $RATE (f32x4.splat (local.get $rate)))
    (local.set $SHRINK (f32x4.splat (local.get $shrink)))
    (local.set $ROOT (f32x4.splat (local.get $root)))
    (local.set $E (f32x4.splat (local.get $e)))
    (local.set $S (f32x4.splat (local.get $s)))
    (block $lanesDone
      (loop $lanes
        (br_if $lanesDone (i32.lt_u (local.get $n) (i32.const 4)))
        (local.set $P (v128.load (local.get $p)))
        (local.set $G (f32x4.mul (v128.load (local.get $g)) (local.get $S)))
        (local.set $M (v128.load (local.get $m)))
        (local.set $V (v128.load (local.get $v)))
        (local.set $M (f32x4.add (local.get $M) (f32x4.mul (local.get $A1) (f32x4.sub (local.get $G) (local.get $M)))))
        (local.set $V (f32x4.add (local.get $V)
          (f32x4.mul (local.get $A2) (f32x4.sub (f32x4.mul (local.get $G) (local.get $G)) (local.get $V)))))
        (v128.store (local.get $m) (local.get $M))
        (v128.store (local.get $v) (local.get $V))
        (v128.store (local.get $p)
          (f32x4.sub (local.get $P)
            (f32x4.add
              (f32x4.mul (local.get $SHRINK) (local.get $P))
              (f32x4.div
                (f32x4.mul (local.get $RATE) (local.get $M))
                (f32x4.add (f32x4.mul (f32x4.sqrt (local.get $V)) (local.get $ROOT)) (local.get $E))))))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (local.set $g (i32.add (local.get $g) (i32.const 16)))
        (local.set $m (i32.add (local.get $m) (i32.const 16)))
        (local.set $v (i32.add (local.get $v) (i32.const 16)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br $lanes)))
    (block $done
      (loop $tail
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $pi (f32.load (local.get $p)))
        (local.set $gi (f32.mul (f32.load (local.get $g)) (local.get $s)))
        (local.set $mi (f32.load (local.get $m)))
        (local.set $vi (f32.load (local.get $v)))
        (local.set $mi (f32.add (local.get $mi) (f32.mul (local.get $a1) (f32.sub (local.get $gi) (local.get $mi)))))
        (local.set $vi (f32.add (local.get $vi)
          (f32.mul (local.get $a2) (f32.sub (f32.mul (local.get $gi) (local.get $gi)) (local.get $vi)))))
        (f32.store (local.get $m) (local.get $mi))
        (f32.store (local.get $v) (local.get $vi))
        (f32.store (local.get $p)
          (f32.sub (local.get $pi)
            (f32.add
              (f32.mul (local.get $shrink) (local.get $pi))
              (f32.div
                (f32.mul (local.get $rate) (local.get $mi))
                (f32.add (f32.mul (f32.sqrt (local.get $vi)) (local.get $root)) (local.get $e))))))
        (local.set $p (i32.add (local.get $p) (i32.const 4)))
        (local.set $g (i32.add (local.get $g) (i32.const 4)))
        (local.set $m (i32.add (local.get $m) (i32.const 4)))
        (local.set $v (i32.add (local.get $v) (i32.const 4)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $tail))))

  ;; The sum of squares in f64: exact to f64 rounding, and not finite if and only if an element is not.
  (func (export "sumSquares") (param $g i32) (param $n i32) (result f64)
    (local $G v128) (local $LOW v128) (local $HIGH v128) (local $SUM0 v128) (local $SUM1 v128) (local $sum f64) (local $gi f64)
    (block $lanesDone
      (loop $lanes
        (br_if $lanesDone (i32.lt_u (local.get $n) (i32.const 4)))
        (local.set $G (v128.load (local.get $g)))
        (local.set $LOW (f64x2.promote_low_f32x4 (local.get $G)))
        (local.set $HIGH (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $G) (local.get $G))))
        (local.set $SUM0 (f64x2.add (local.get $SUM0) (f64x2.mul (local.get $LOW) (local.get $LOW))))
        (local.set $SUM1 (f64x2.add (local.get $SUM1) (f64x2.mul (local.get $HIGH) (local.get $HIGH))))
        (local.set $g (i32.add (local.get $g) (i32.const 16)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br $lanes)))
    (local.set $SUM0 (f64x2.add (local.get $SUM0) (local.get $SUM1)))
    (local.set $sum (f64.add (f64x2.extract_lane 0 (local.get $SUM0)) (f64x2.extract_lane 1 (local.get $SUM0))))
    (block $done
      (loop $tail
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $gi (f64.promote_f32 (f32.load (local.get $g))))
        (local.set $sum (f64.add (local.get $sum) (f64.mul (local.get $gi) (local.get $gi))))
        (local.set $g (i32.add (local.get $g) (i32.const 4)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $tail)))
    (local.get $sum))

  ;; into += from
  (func $add (export "add") (param $into i32) (param $from i32) (param $n i32)
    (block $lanesDone
      (loop $lanes
        (br_if $lanesDone (i32.lt_u (local.get $n) (i32.const 4)))
        (v128.store (local.get $into) (f32x4.add (v128.load (local.get $into)) (v128.load (local.get $from))))
        (local.set $into (i32.add (local.get $into) (i32.const 16)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br $lanes)))
    (block $done
      (loop $tail
        (br_if $done (i32.eqz (local.get $n)))
        (f32.store (local.get $into) (f32.add (f32.load (local.get $into)) (f32.load (local.get $from))))
        (local.set $into (i32.add (local.get $into) (i32.const 4)))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $tail))))

  ;; into *= factor
  (func (export "scale") (param $into i32) (param $n i32) (param $factor f32)
    (local $FACTOR v128)
    (local.set $FACTOR (f32x4.splat (local.get $factor)))
    (block $lanesDone
      (loop $lanes
        (br_if $lanesDone (i32.lt_u (local.get $n) (i32.const 4)))
        (v128.store (local.get $into) (f32x4.mul (v128.load (local.get $into)) (local.get $FACTOR)))
        (local.set $into (i32.add (local.get $into) (i32.const 16)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br $lanes)))
    (block $done
      (loop $tail
        (br_if $done (i32.eqz (local.get $n)))
        (f32.store (local.get $into) (f32.mul (f32.load (local.get $into)) (local.get $factor)))
        (local.set $into (i32.add (local.get $into) (i32.const 4)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $tail))))

  ;; into = value
  (func (export "fill") (param $into i32) (param $n i32) (param $value f32)
    (local $VALUE v128)
    (local.set $VALUE (f32x4.splat (local.get $value)))
    (block $lanesDone
      (loop $lanes
        (br_if $lanesDone (i32.lt_u (local.get $n) (i32.const 4)))
        (v128.store (local.get $into) (local.get $VALUE))
        (local.set $into (i32.add (local.get $into) (i32.const 16)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br $lanes)))
    (block $done
      (loop $tail
        (br_if $done (i32.eqz (local.get $n)))
        (f32.store (local.get $into) (local.get $value))
        (local.set $into (i32.add (local.get $into) (i32.const 4)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $tail))))

  ;; table[ids[i]] += rows[i] for i in order, so that repeated ids add up
  (func (export "addRows") (param $table i32) (param $rows i32) (param $ids i32) (param $count i32) (param $width i32)
    (local $bytes i32)
    (local.set $bytes (i32.shl (local.get $width) (i32.const 2)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (call $add
          (i32.add (local.get $table) (i32.mul (i32.load (local.get $ids)) (local.get $bytes)))
          (local.get $rows)
          (local.get $width))
        (local.set $rows (i32.add (local.get $rows) (local.get $bytes)))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; out[i] = table[ids[i]]
  (func (export "gatherRows") (param $out i32) (param $table i32) (param $ids i32) (param $count i32) (param $width i32)
    (local $bytes i32)
    (local.set $bytes (i32.shl (local.get $width) (i32.const 2)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (memory.copy
          (local.get $out)
          (i32.add (local.get $table) (i32.mul (i32.load (local.get $ids)) (local.get $bytes)))
          (local.get $bytes))
        (local.set $out (i32.add (local.get $out) (local.get $bytes)))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))
)
