import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mailKey, mailText } from '../../src/tasks/mail.ts'

const mail = (headers: readonly string[], body: string) => `${headers.join('\n')}\n\n${body}`

describe('the text of a mail', () => {
  test('is its subject and body without headers', () => {
    const message = mail(
      [
        'From a@b.example  Thu Aug 22 12:36:23 2002',
        'Received: from x',
        '\tby y; Thu',
        'Subject: Re: New',
        '  Window',
        'X-Spam: no',
      ],
      'Hello  there,  \r\n\r\n\r\n this is it.\r\n',
    )
    assert.equal(mailText(message), 'Re: New Window\nHello there,\nthis is it.')
    assert.equal(mailText('Subject: only a head'), 'only a head')
    assert.equal(mailText('\nonly a body'), 'only a body')
  })

  test('is decoded, from quoted-printable, base64 and encoded words', () => {
    const encoded = (encoding: string, type: string, body: string) =>
      mailText(mail([`Content-Type: ${type}`, `Content-Transfer-Encoding: ${encoding}`], body))
    assert.equal(
      encoded('Quoted-Printable', 'text/plain; charset="iso-8859-1"', 'caf=E9 =\nau lait =3D'),
      'café au lait =',
    )
    assert.equal(encoded('base64', 'text/plain; charset=utf-8', btoa('two\nlines')), 'two\nlines')
    assert.equal(encoded('base64', 'text/plain; charset=no-such', btoa('caf\xe9')), 'café')
    assert.equal(encoded('7bit', 'text/plain', 'a=20b'), 'a=20b')
    assert.equal(mailText(mail(['Subject: =?utf-8?Q?caf=C3=A9_au?= =?ISO-8859-1?B?bGFpdA==?='], '')), 'café aulait')
  })

  test('is what HTML shows', () => {
    const html = `<html><head><title>no</title><style>p { }</style></head><!-- no -->
      <body><p>Save <b>70&#37;</b> &amp; more&nbsp;now<br>Click <a href="http://x">here</a>&unknown;</body></html>`
    const want = 'Save 70% & more now\nClick here &unknown;'
    assert.equal(mailText(mail(['Content-Type: text/html'], html)), want)
    assert.equal(mailText(mail([], html)), want)
  })

  test('is the plain one of alternatives, and all readable parts of a mixture', () => {
    const part = (type: string, body: string, more = '') => `--b 1\nContent-Type: ${type}\n${more}\n${body}\n`
    const parts = part('text/plain', 'plain text') + part('text/html', '<p>html text')
    const of = (type: string, body: string) =>
      mailText(mail([`Content-Type: multipart/${type};`, ' boundary="b 1"'], body))
    assert.equal(of('alternative', `preamble\n${parts}--b 1--\nepilogue`), 'plain text')
    assert.equal(
      of(
        'mixed',
        `${parts}${part('image/gif', 'R0lG')}${part('text/plain', 'no', 'Content-Disposition: attachment\n')}--b 1--`,
      ),
      'plain text\nhtml text',
    )
    assert.equal(of('alternative', `${part('text/plain', ' ')}${part('text/html', '<p>html text')}`), 'html text')
    const inner = `Content-Type: multipart/alternative; boundary=c\n\n--c\n\ninner\n--c--`
    assert.equal(of('mixed', `--b 1\n${inner}\n--b 1--`), 'inner')
    assert.equal(mailText(mail(['Content-Type: message/rfc822'], 'Subject: not read\n\nforwarded')), 'forwarded')
    assert.equal(mailText(mail(['Content-Type: multipart/mixed'], 'no boundary')), 'no boundary')
  })

  test('is found however deep parts are nested, and hostile ones come to an end', () => {
    let message = 'deep'
    for (let i = 0; i < 200; i++) message = `Content-Type: multipart/mixed; boundary=x${i}\n\n--x${i}\n${message}`
    assert.equal(mailText(message), '')
    const began = performance.now()
    mailText(mail(['Content-Type: text/html'], `${'<'.repeat(20000)}<!--${'<style'.repeat(2000)}`))
    mailText(`Subject: ${'=?'.repeat(5000)}\n\n${' \n'.repeat(20000)}x`)
    // Backtracking would take hours; a machine that is only busy takes far less than this.
    assert.ok(performance.now() - began < 60_000)
  })
})

test('copies of a mass mailing have one key, other mails another', () => {
  const copy = (name: string, code: number) => `Buy NOW, ${name}@mail.example! Offer ${code}\nhttp://x.example/${code}`
  assert.equal(mailKey(copy('ann', 123)), mailKey(copy('bob', 98765)))
  assert.notEqual(mailKey('Buy now'), mailKey('Buy later'))
  assert.notEqual(mailKey('免費無限次'), mailKey('拾金不昧'))
  assert.equal(mailKey(' ... '), '')
})
