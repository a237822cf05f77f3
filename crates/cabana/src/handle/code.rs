//! A kernel that keeps its variables between cells.

use cabana_protocol::code::{Create, Delete, Interrupt, Restart, Run, RunOutput};

use super::{Handle, Running};
use crate::Result;

/// A code context of a sandbox, by its id or its name: a kernel whose variables last from one cell to the next. Dropping it ends nothing.
#[derive(Debug, Clone)]
pub struct CodeContext {
    sandbox: Handle,
    id: String,
}

impl Handle {
    /// Runs code in the context that its language has by default, and answers everything that it has shown. Fails as [`Run`] says.
    pub async fn run_code(&self, language: &str, code: &str) -> Result<RunOutput> {
        self.call(Run { language: Some(language.to_owned()), ..Run::new(code) }).await
    }

    /// Starts a context, or finds the one of its name. Fails as [`Create`] says.
    pub async fn create_context(&self, request: Create) -> Result<CodeContext> {
        let created = self.call(request).await?;
        Ok(self.context(&created.context))
    }

    /// The context with this id or name. Makes no call.
    pub fn context(&self, id: &str) -> CodeContext {
        CodeContext { sandbox: self.clone(), id: id.to_owned() }
    }
}

impl CodeContext {
    /// Its id, or the name that it was reached by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs a cell, and answers everything that it has shown. An exception is a result, not an error.
    ///
    /// Fails as [`Run`] says: with `not_found`, and with `gone` where the context went with its container.
    pub async fn run(&self, code: &str) -> Result<RunOutput> {
        self.sandbox.call(self.cell(code)).await
    }

    /// The same as a stream.
    pub async fn stream(&self, code: &str) -> Result<Running<Run>> {
        self.sandbox.stream(self.cell(code)).await
    }

    /// Interrupts the cell that runs; the variables are kept.
    pub async fn interrupt(&self) -> Result<()> {
        self.sandbox.call(Interrupt { context: self.id.clone() }).await?;
        Ok(())
    }

    /// Starts its kernel anew, without variables.
    pub async fn restart(&self) -> Result<()> {
        self.sandbox.call(Restart { context: self.id.clone() }).await?;
        Ok(())
    }

    /// Ends its kernel.
    pub async fn delete(&self) -> Result<()> {
        self.sandbox.call(Delete { context: self.id.clone() }).await?;
        Ok(())
    }

    fn cell(&self, code: &str) -> Run {
        Run { context: Some(self.id.clone()), ..Run::new(code) }
    }
}
