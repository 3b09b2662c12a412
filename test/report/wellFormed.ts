/** For tests of pages: whether a page is well-formed. */

import assert from 'node:assert/strict'

/** Throws unless every element is closed in order, every attribute quoted, and every & begins an entity. */
export function checkWellFormed(page: string): void {
  const open: string[] = []
  const body = page.replace(/^<!DOCTYPE html>\n/, '').replace(/<style>[^<]*<\/style>/, '')
  const tag = /<(\/?)([a-z][a-z0-9]*)((?:\s[a-zA-Z-]+="[^"<]*")*)\s*(\/?)>/g
  const between = body.replace(tag, (_all, closes: string, name: string, attributes: string, isEmpty: string) => {
    assert.doesNotMatch(attributes, bareAmpersand)
    if (closes) assert.equal(open.pop(), name)
    else if (!isEmpty) open.push(name)
    return ''
  })
  assert.deepEqual(open, [])
  assert.doesNotMatch(between, /[<>]/)
  assert.doesNotMatch(between, bareAmpersand)
}

const bareAmpersand = /&(?!(amp|lt|gt|quot);)/
