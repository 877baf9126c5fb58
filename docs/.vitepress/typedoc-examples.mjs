/** TypeDoc: every public name has an example, and so has every method and accessor of a public class. */
import { Application, Converter, ReflectionKind } from 'typedoc'
import ts from 'typescript'

export function load(app) {
  // A class that is exported as a type, because nobody else makes one, is an interface to TypeDoc.
  const classes = new Set()
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    const symbol = context.getSymbolFromReflection(reflection)
    if (symbol && symbol.flags & ts.SymbolFlags.Class) classes.add(reflection)
  })
  app.on(Application.EVENT_VALIDATE_PROJECT, (project) => {
    for (const name of project.children.flatMap((module) => module.children)) {
      for (const each of classes.has(name) ? [name, ...methodsOf(name)] : [name]) {
        if (hasExample(each)) continue
        app.logger.validationWarning(`${each.getFriendlyFullName()} has no @example`)
      }
    }
  })
}

/** What is inherited, or an interface asks for, is described there. */
function methodsOf(reflection) {
  return reflection.children.filter(
    (each) =>
      each.kindOf([ReflectionKind.Method, ReflectionKind.Accessor]) &&
      !each.inheritedFrom &&
      !each.implementationOf,
  )
}

function hasExample({ comment, signatures = [], getSignature }) {
  const comments = [comment, getSignature?.comment, ...signatures.map((each) => each.comment)]
  return comments.some((each) => each?.getTag('@example'))
}
