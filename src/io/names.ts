/** Names of tensors as files have them. */

const longest = 512

/** The name, when it can stand in a message. @throws Error when it is too long, or has control characters. */
export function checkName(where: string, name: string): string {
  if (name.length <= longest && !/\p{Cc}/u.test(name) && name !== '__proto__') return name
  const what = name.length > longest ? `at most ${longest} characters` : 'no control characters'
  throw new Error(`${where}: ${JSON.stringify(name.slice(0, 60))} cannot name a tensor, want ${what}`)
}
