/** TypeDoc: a type that is made of a list of values is shown as these values, not as the list's name. */
import { Converter, LiteralType, ReflectionKind, UnionType } from 'typedoc'

export function load(app) {
  const values = new Map()
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.kindOf(ReflectionKind.TypeAlias)) return
    const type = context.checker.getDeclaredTypeOfSymbol(
      context.getSymbolFromReflection(reflection),
    )
    if (type.isUnion() && type.types.every((each) => each.isStringLiteral())) {
      values.set(reflection, type.types.map(({ value }) => value)) // prettier-ignore
    }
  })
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, () => {
    for (const [reflection, texts] of values) {
      if (reflection.type?.type !== 'indexedAccess') continue
      reflection.type = new UnionType(texts.map((text) => new LiteralType(text)))
    }
  })
}
